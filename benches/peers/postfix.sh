# Postfix + OpenDKIM from a scratch directory. Sourced by ./run.
# Sets postfix_pid and opendkim_pid. Defaults everywhere, except for where things lie and that nothing asks DNS.

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for_port() { # port
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    sleep 0.1
  done
  echo "nothing listens on port $1" >&2
  return 1
}

postfix_start() { # directory, port to listen on, port to deliver to, private key
  local dir=$1 port=$2 sink=$3 key=$4 milter
  milter=$(free_port)
  postfix_dir=$dir
  rm -rf "$dir"; mkdir -p "$dir/etc" "$dir/spool" "$dir/data" "$dir/log"
  install -o opendkim -m 600 "$key" "$dir/key.pem"
  chown postfix "$dir/data"
  cat > "$dir/opendkim.conf" <<EOF
Mode s
Domain test.dk
Selector load1
KeyFile $dir/key.pem
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
OversignHeaders From
Socket inet:$milter@127.0.0.1
UserID opendkim
PidFile $dir/opendkim.pid
InternalHosts 127.0.0.1
RequireSafeKeys no
Syslog no
EOF
  opendkim -f -x "$dir/opendkim.conf" & opendkim_pid=$!
  wait_for_port "$milter"
  postconf -d queue_directory >/dev/null
  cat > "$dir/etc/main.cf" <<EOF
compatibility_level = 3.6
queue_directory = $dir/spool
data_directory = $dir/data
multi_instance_name = postfix-peer
mail_owner = postfix
setgid_group = postdrop
myhostname = out.example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$sink
disable_dns_lookups = yes
smtpd_milters = inet:127.0.0.1:$milter
milter_default_action = tempfail
maillog_file = $dir/log/mail.log
maillog_file_prefixes = $dir
alias_maps =
alias_database =
EOF
  sed "s/^smtp      inet .*/127.0.0.1:$port inet n - n - - smtpd/; s/^\([a-z]\+ \+[a-z-]\+ \+[a-z-]\+ \+[a-z-]\+ \+\)y /\1n /" \
    /usr/share/postfix/master.cf.dist > "$dir/etc/master.cf"
  postfix -c "$dir/etc" start >/dev/null 2>&1 || { cat "$dir/log/mail.log" >&2; return 1; }
  wait_for_port "$port"
  postfix_pid=$(tr -d ' ' < "$dir/spool/pid/master.pid")
}

postfix_stop() {
  [ -n "${postfix_dir:-}" ] || return 0
  postfix -c "$postfix_dir/etc" stop >/dev/null 2>&1 || true
  kill "$opendkim_pid" 2>/dev/null || true
  wait "$opendkim_pid" 2>/dev/null || true
  postfix_dir=
}

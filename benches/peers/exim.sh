# Exim from an unpacked package. Sourced by ./run. Sets exim_pid.
# EXIM_DEBS may name a directory that holds exim4-base and exim4-daemon-light; else apt-get downloads them.

exim_start() { # directory, port to listen on, port to deliver to, private key
  local dir=$1 port=$2 sink=$3 key=$4 deb
  exim_dir=$dir exim_pid= exim_trusted=
  rm -rf "$dir/spool"; mkdir -p "$dir/root" "$dir/spool" "$dir/log"
  if [ ! -x "$dir/root/usr/sbin/exim4" ]; then
    local debs=${EXIM_DEBS:-}
    if [ -z "$debs" ]; then
      debs=$dir
      (cd "$dir" && apt-get download exim4-base exim4-daemon-light >/dev/null 2>&1) ||
        { echo "exim: apt-get download failed" >&2; return 1; }
    fi
    for deb in "$debs"/exim4-base_*.deb "$debs"/exim4-daemon-light_*.deb; do dpkg -x "$deb" "$dir/root"; done
  fi
  local exim=$dir/root/usr/sbin/exim4
  # Debian's build looks its user up by name.
  id Debian-exim >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin Debian-exim
  install -o Debian-exim -m 600 "$key" "$dir/key.pem"
  chown Debian-exim "$dir/spool" "$dir/log"
  # Exim keeps root for its own deliveries only with a configuration named in this file.
  exim_trusted=/etc/exim4/trusted_configs
  mkdir -p /etc/exim4
  [ ! -e "$exim_trusted" ] || { exim_trusted=; echo "exim: $exim_trusted is there already; not touched" >&2; return 1; }
  echo "$dir/exim.conf" > "$exim_trusted"
  cat > "$dir/exim.conf" <<EOF
primary_hostname = out.example.com
spool_directory = $dir/spool
log_file_path = $dir/log/%slog
pid_file_path = $dir/exim.pid
local_interfaces = 127.0.0.1.$port
exim_path = $exim
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
# The load is 100 kept sessions; Exim's own limits (20 sessions, 20 waiting to be taken, 10 messages a session) would refuse or postpone it.
smtp_accept_max = 0
smtp_connect_backlog = 500
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
prdr_enable = false
tls_advertise_hosts =
never_users =

begin acl

begin routers
sink:
  driver = manualroute
  transport = signed
  route_list = * 127.0.0.1 byname
  self = send

begin transports
signed:
  driver = smtp
  port = $sink
  hosts_try_chunking =
  hosts_try_fastopen =
  dkim_domain = test.dk
  dkim_selector = load1
  dkim_private_key = $dir/key.pem
  dkim_canon = relaxed

begin retry
* * F,2h,1m
EOF
  sed -i 's/^acl_smtp_\(rcpt\|data\) = accept/acl_smtp_\1 = take/; s/^begin acl$/begin acl\ntake:\n  accept/' "$dir/exim.conf"
  "$exim" -C "$dir/exim.conf" -bdf -q10s >"$dir/log/stdout" 2>&1 & exim_pid=$!
  wait_for_port "$port" || { cat "$dir/log/stdout" >&2; exim_stop; return 1; }
}

exim_stop() {
  [ -n "${exim_dir:-}" ] || return 0
  if [ -n "$exim_pid" ]; then
    kill "$exim_pid" 2>/dev/null || true
    wait "$exim_pid" 2>/dev/null || true
  fi
  [ -z "$exim_trusted" ] || rm -f "$exim_trusted"
  exim_dir= exim_trusted=
}

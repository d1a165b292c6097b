# What tests/image/run and tests/image/compose share; sourced by them.

debian=docker.io/library/debian:bookworm-slim

# Whether an image is here.
has() { buildah inspect --type image "$1" >/dev/null 2>&1; }

# Commits the container $container as an image.
make_base() { # NAME
    buildah commit --quiet --format docker "$container" "$1" >/dev/null
    buildah rm "$container" >/dev/null
    container=''
}

# Debian as in the image of this name, made here.
make_debian() { # WORK-FOLDER
    has "$debian" && return 0
    echo "== Debian, once"
    [ -e "$1/debian/etc/debian_version" ] ||
        debootstrap --variant=minbase bookworm "$1/debian" http://deb.debian.org/debian >"$1/debootstrap.log"
    rm -rf "$1"/debian/usr/share/{doc,man,locale,info}/* "$1"/debian/var/{cache/apt,lib/apt/lists}/*
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$1/debian" / >/dev/null
    make_base "$debian"
}

# Completes the example configuration as docs/deploy.md says, for the container's user; all but the hash of webCRM's password.
make_site() { # FOLDER
    cp -r config "$1/"
    mkdir -p "$1/config/secrets" "$1/keys" "$1/certs"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=out.webcrm.com -keyout "$1/certs/server.key" -out "$1/certs/server.pem" 2>/dev/null
    for secret in mailjet-starter.key mailjet-starter.secret mailjet-trusted.key mailjet-trusted.secret egenserver.password postgres.password; do
        echo none >"$1/config/secrets/$secret"
    done
    for key in test egenserver; do
        openssl genrsa -out "$1/keys/$key.dk.pem" 2048 2>/dev/null
    done
}

# Gives the folders to the container's user.
own_site() { # FOLDER
    chown -R 8025:8025 "$1/config/secrets" "$1/keys" "$1/certs"
    chmod 755 "$1" && chmod -R go-rwx "$1/config/secrets" "$1/keys"
    chmod -R go+rX "$1/config/customers" "$1"/config/docker*.toml
}

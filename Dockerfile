# docker build -t postbud .
# docker run --restart unless-stopped -v ./config:/etc/postbud:ro -v postbud-state:/var/lib/postbud -p 2525:2525 postbud
#
# In the configuration: state_dir = "/var/lib/postbud", listeners on 0.0.0.0 with allow_from, [web] address = "127.0.0.1:8025"
# (the health check asks there; 0.0.0.0 where metrics are scraped from outside). Keys and secrets below the configuration must be
# readable for uid 8025: chown -R 8025 config/secrets keys, with mode 600. Keys lie outside of ./config in the example
# configuration: mount them too (-v ./keys:/etc/keys:ro, and certs likewise), since paths are relative to the file they stand in.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# The manifest names benches and tests; cargo only wants to see that declared files exist.
COPY benches benches
RUN cargo build --release --locked --bin postbud

FROM debian:bookworm-slim
# ca-certificates: customers' servers are checked against the system's roots. curl: the health check.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 8025 --user-group --home-dir /var/lib/postbud --create-home --shell /usr/sbin/nologin postbud \
    && chmod 700 /var/lib/postbud
COPY --from=build /src/target/release/postbud /usr/local/bin/postbud
USER postbud
VOLUME /var/lib/postbud
EXPOSE 2525
# SIGTERM: deliveries under way end within shutdown_grace (30 s), so give docker stop more than its 10 s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8025/healthz"]
ENTRYPOINT ["postbud"]
CMD ["run", "--config", "/etc/postbud/postbud.toml"]

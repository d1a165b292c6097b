# docker build -t postbud .
# docker run --restart unless-stopped -p 2525:2525 -v postbud-state:/var/lib/postbud \
#     -v ./config:/etc/postbud:ro -v ./keys:/etc/keys:ro -v ./certs:/etc/certs:ro postbud
#
# It reads config/docker.toml, which says what is different in a container, and config/customers. Keys, certificates and secrets are
# made as the README says; the container's user must be able to read them: chown -R 8025 config/secrets keys certs, with mode 600.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# The manifest names benches and tests; cargo only wants to see that declared files exist.
COPY benches benches
# Without the demo and its certificates.
RUN cargo build --release --locked --no-default-features --bin postbud

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
CMD ["run", "--config", "/etc/postbud/docker.toml"]

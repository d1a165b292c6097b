# docker build -t postbud --build-arg POSTBUD_COMMIT=$(git rev-parse --short=12 HEAD) .
# docker run --restart unless-stopped --stop-timeout 60 -p 2525:2525 -v postbud-state:/var/lib/postbud \
#     -v ./config:/etc/postbud:ro -v ./keys:/etc/keys:ro -v ./certs:/etc/certs:ro postbud
#
# It reads config/docker.toml, which says what is different in a container, and config/customers. Keys, certificates and secrets are
# made as docs/deploy.md says; the container's user must be able to read them: chown -R 8025 config/secrets keys certs, with mode 600.
FROM rust:1.95-slim-bookworm AS build
# ca-certificates: customers' servers are checked against the system's roots. python3: collects the licences of the libraries.
RUN apt-get update && apt-get install -y --no-install-recommends build-essential ca-certificates cmake python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
# The manifest names benches and tests; cargo only wants to see that declared files exist.
COPY benches benches
COPY deploy/licences deploy/sbom deploy/
# The source is here without its repository: postbud --version says this commit.
ARG POSTBUD_COMMIT=unknown
# "dev" builds in a fraction of the time, for a test of the image.
ARG PROFILE=release
# Without the demo and its certificates, and without symbols.
RUN cargo build --profile $PROFILE --locked --no-default-features --bin postbud \
    && strip -o /postbud target/$(echo $PROFILE | sed 's/^dev$/debug/')/postbud
RUN deploy/licences >/licences-of-libraries

FROM debian:bookworm-slim
ARG POSTBUD_COMMIT=unknown
LABEL org.opencontainers.image.title="postbud" \
    org.opencontainers.image.description="Outbound SMTP relay that signs with each customer's own DKIM key" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.vendor="webCRM" \
    org.opencontainers.image.revision=$POSTBUD_COMMIT
RUN useradd --system --uid 8025 --user-group --home-dir /var/lib/postbud --create-home --shell /usr/sbin/nologin postbud \
    && chmod 700 /var/lib/postbud
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /postbud /usr/local/bin/postbud
COPY --from=build /licences-of-libraries /usr/share/doc/postbud/
ENV POSTBUD_CONFIG=/etc/postbud/docker.toml
USER postbud
VOLUME /var/lib/postbud
EXPOSE 2525
# Deliveries under way end within shutdown_grace (30 s), so give docker stop more than its 10 s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["postbud", "health"]
ENTRYPOINT ["postbud"]
CMD ["run"]

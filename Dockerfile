# The agent's image: redial, the libraries it loads, and nothing else: no shell,
# no package manager, nothing setuid.
#
#   docker build -t redial:0.1.0 .
#
# The steps are scripts, so that they can be run and tested without a container
# runtime: scripts/image-prove does so in a fresh Debian.

FROM debian:bookworm AS build
WORKDIR /src
COPY . .
RUN scripts/image-build && scripts/image-root /image build/image/redial

FROM scratch
COPY --from=build /image /
ENV PATH=/usr/local/sbin
ENTRYPOINT ["/usr/local/sbin/redial"]
CMD ["--help"]

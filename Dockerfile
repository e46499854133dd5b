# The operator, which also runs the CPU stages prepare, score and pair:
#   docker build -t registry.example/spatialalign/operator:dev .
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY *.go ./
COPY api ./api
COPY controllers ./controllers
COPY internal ./internal
ARG TARGETOS=linux TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags '-s -w' -o /out/spatialalign .

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/spatialalign /spatialalign
USER 65532:65532
ENTRYPOINT ["/spatialalign"]

#!/usr/bin/env bash
# Build the images of the four services (usage: scripts/build_images.sh [SERVICE ...]).
#
# BUILDER          docker, podman or buildah, options included; empty takes the first that is there
# IMAGE_PREFIX     in front of gateway, audio-encoder, ... (default flashtalk-)
# IMAGE_TAG        default: the version in flashtalk/__init__.py
# BASE_IMAGE       another image with Python 3.11 than the Dockerfiles name
# TORCH_INDEX_URL  where torch comes from: the CPU or a CUDA index that pytorch.org names
# COMPILER         1: workers whose models can be compiled where they run (with g++)
# BUILD_ARGS       more options of the builder
set -euo pipefail
cd "$(dirname "$0")/.."

services=(gateway audio_encoder dit_worker vae_decoder)
[ "$#" -eq 0 ] || services=("$@")
for service in "${services[@]}"; do
  if [ ! -f "services/$service/Dockerfile" ]; then
    echo "images: SERVICE: $service: one of gateway, audio_encoder, dit_worker, vae_decoder" >&2
    exit 2
  fi
done

builder="${BUILDER:-}"
if [ -z "$builder" ]; then
  for found in docker podman buildah; do
    if command -v "$found" >/dev/null; then
      builder="$found"
      break
    fi
  done
fi
if [ -z "$builder" ]; then
  echo "images: BUILDER: none of docker, podman and buildah is installed" >&2
  exit 2
fi
read -ra build <<<"$builder"
case "$(basename "${build[0]}")" in
  docker | podman) build+=(build) ;;
  buildah) build+=(build --layers) ;;
  *)
    echo "images: BUILDER: $builder: docker, podman or buildah" >&2
    exit 2
    ;;
esac

version="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' flashtalk/__init__.py)"
revision="$(git rev-parse HEAD 2>/dev/null || echo unknown)"
arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision")
[ -z "${BASE_IMAGE:-}" ] || arguments+=(--build-arg "BASE=$BASE_IMAGE")
read -ra more <<<"${BUILD_ARGS:-}"

for service in "${services[@]}"; do
  tag="${IMAGE_PREFIX:-flashtalk-}${service//_/-}:${IMAGE_TAG:-$version}"
  own=()
  # The gateway has no torch, and builders complain of arguments that nothing takes.
  if [ "$service" != gateway ]; then
    [ -z "${TORCH_INDEX_URL:-}" ] || own+=(--build-arg "TORCH_INDEX_URL=$TORCH_INDEX_URL")
    [ -z "${COMPILER:-}" ] || own+=(--build-arg "COMPILER=$COMPILER")
  fi
  echo "images: $tag with $builder"
  "${build[@]}" "${arguments[@]}" "${own[@]}" "${more[@]}" \
    --file "services/$service/Dockerfile" --tag "$tag" .
done

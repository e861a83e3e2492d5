# The book, its tests and its training in a container.
#
#   docker build -t secondlook .                               for processors
#   docker build -t secondlook --build-arg DEVICE=gpu .        for an NVIDIA GPU too; its driver stays outside
#
#   docker run --rm -v "$PWD/site:/secondlook/_build" secondlook                       the book → site/html/index.html
#   docker run --rm secondlook make test
#   docker run --rm --gpus all -v "$PWD/data:/secondlook/data" -v "$PWD/records:/secondlook/records" \
#       -v "$PWD/runs:/secondlook/runs" secondlook secondlook train vgg --run vgg16    (leave --gpus all out without one)
FROM python:3.11-slim
ARG DEVICE=cpu
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium g++ git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /secondlook
COPY . .
ENV PATH=/secondlook/.venv/bin:$PATH PIP_NO_CACHE_DIR=1
# The pinned torch brings CUDA with it. Without a GPU its versions for processors take its place: 4 GB less.
RUN set -e; \
    if [ "$DEVICE" = cpu ]; then \
        python -m venv .venv; \
        .venv/bin/pip install --no-deps --index-url https://download.pytorch.org/whl/cpu \
            $(grep -oE '^(torch|torchvision)==[^ ;]+' requirements.txt); \
        sed -i -E '/^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/,/[^\\]$/d' requirements.txt; \
    fi; \
    make .venv/.ready
CMD ["make", "book"]

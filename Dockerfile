# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/cardrail
RUN python -m venv /srv/venv
# The hashed lock decides what is installed; the layer is rebuilt only when it changes.
COPY requirements.lock ./
RUN /srv/venv/bin/pip install --require-hashes -r requirements.lock

FROM python:3.11-slim
ENV PATH=/srv/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/srv/cardrail \
    CARDRAIL_HOST=0.0.0.0 CARDRAIL_DATA_DIR=/var/lib/cardrail CARDRAIL_LOG_FORMAT=json
RUN useradd --system --uid 10001 --home-dir /var/lib/cardrail --create-home cardrail
WORKDIR /srv/cardrail
COPY --from=build /srv/venv /srv/venv
COPY alembic.ini LICENSE openapi.yaml ./
COPY migrations migrations
COPY app app
RUN printf '#!/bin/sh\nexec python -m app "$@"\n' > /usr/local/bin/cardrail && chmod 755 /usr/local/bin/cardrail
USER cardrail
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
# `migrate`, `worker`, `doctor` and every other command run from the same image.
ENTRYPOINT ["cardrail"]
CMD ["serve"]

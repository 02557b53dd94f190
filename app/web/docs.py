"""The API's description for people and programs: ``/docs`` (Swagger UI), ``/problems`` (what each code means),
``/openapi.json`` and ``/openapi.yaml``.

No page asks another machine for anything: the assets are served from here, and the content policy forbids the rest.
"""

import base64
import hashlib
import importlib.resources
import re

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from app.web import codes, openapi

ASSETS = "/docs/assets"
_PROBLEMS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def install(app: FastAPI) -> None:
    """Serve the description of ``app`` from ``app``. Addresses are relative, so a prefix before ours does no harm."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="cardrail API",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon.png",
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": False},
    )
    page.headers["Content-Security-Policy"] = _policy(bytes(page.body))

    async def docs(_request: Request) -> HTMLResponse:
        return page

    async def yaml(_request: Request) -> Response:
        return Response(openapi.text(app), media_type="application/yaml")

    async def problems(_request: Request) -> HTMLResponse:
        return HTMLResponse(codes.page(), headers={"Content-Security-Policy": _PROBLEMS_POLICY})

    app.router.routes += [Route("/docs", docs), Route("/openapi.yaml", yaml), Route(codes.PAGE, problems)]
    assets = importlib.resources.files("fastapi_offline").joinpath("static")
    app.mount(ASSETS, StaticFiles(directory=str(assets)), name="docs assets")


def _policy(html: bytes) -> str:
    """Only what we serve, and the page's one inline script, known by its hash. Swagger UI sets styles by itself."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(html)]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

"""The description is served by us alone, and says what the committed file says."""

import re
from pathlib import Path

import httpx
import yaml

ROOT = Path(__file__).resolve().parents[2]


async def test_the_docs_page_asks_no_other_machine_for_anything(anyone: httpx.AsyncClient) -> None:
    page = await anyone.get("/docs")
    assert page.status_code == 200
    links = [*re.findall(r'(?:src|href)="([^"]*)"', page.text), *re.findall(r"url: '([^']*)'", page.text)]
    assert len(links) == 4
    for link in links:
        assert not re.match(r"(\w+:)?//", link), link
        assert (await anyone.get(f"/{link}")).status_code == 200
    assert "//" not in re.sub(r"<!--.*?-->", "", page.text)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "sha256-" in policy


async def test_the_served_description_is_the_committed_one(anyone: httpx.AsyncClient) -> None:
    served = await anyone.get("/openapi.yaml")
    assert served.headers["content-type"].startswith("application/yaml")
    assert served.text == (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert yaml.load(served.text, Loader=yaml.CSafeLoader) == (await anyone.get("/openapi.json")).json()


async def test_no_page_of_fastapi_loads_from_elsewhere(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get("/redoc")).status_code == 404


async def test_the_type_of_a_problem_leads_to_its_explanation(anyone: httpx.AsyncClient) -> None:
    problem = (await anyone.get("/v1/accounts")).json()
    assert problem["type"] == "/problems#unauthenticated"
    page = await anyone.get(problem["type"])
    assert page.status_code == 200
    assert 'id="unauthenticated"' in page.text
    assert "//" not in page.text

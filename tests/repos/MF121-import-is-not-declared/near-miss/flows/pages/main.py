import httpx
import yaml
from bs4 import BeautifulSoup
from prefect import flow

try:
    import uvloop
except ImportError:
    uvloop = None


@flow
def pages() -> None:
    print(BeautifulSoup, httpx, yaml)

from bs4 import BeautifulSoup


def title(page: str) -> str:
    return BeautifulSoup(page).title

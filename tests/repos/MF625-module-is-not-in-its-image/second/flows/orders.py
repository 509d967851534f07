from prefect import flow


@flow
def orders() -> None:
    import rates

    print(rates.VAT)

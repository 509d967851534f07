from prefect import flow

from shared.rates import VAT


@flow
def invoices(vat: float = VAT) -> None: ...

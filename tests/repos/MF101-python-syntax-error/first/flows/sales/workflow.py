from prefect import flow


@flow
def sales()
    print("sold")

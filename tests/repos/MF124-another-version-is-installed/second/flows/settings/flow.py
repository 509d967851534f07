from prefect import flow


@flow(name="settings")
def read_settings() -> None:
    import yaml

    yaml.safe_load("")

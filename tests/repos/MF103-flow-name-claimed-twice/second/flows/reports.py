from prefect import flow


@flow
def daily_report() -> None: ...


class Reports:
    @flow(name="daily-report", log_prints=True)
    @staticmethod
    def daily() -> None: ...

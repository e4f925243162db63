"""Airflow: one task a day that runs nightly.sh for the day that has just ended."""

import datetime as dt

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG(
    dag_id="tracewrap_nightly",
    schedule="15 2 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": dt.timedelta(minutes=10)},
    tags=["tracewrap"],
):
    BashOperator(
        task_id="report",
        # The space at the end keeps Airflow from taking the command for the name of a template file.
        bash_command="/opt/tracewrap/nightly.sh {{ data_interval_start | ds }} ",
        env={
            "TRACEWRAP_SOURCE": "/var/lib/tracewrap/calls",
            "TRACEWRAP_LAKE": "/var/lib/tracewrap/lake",
            "TRACEWRAP_REPORTS": "/var/lib/tracewrap/reports",
            "PATH": "/opt/tracewrap/bin:/usr/bin:/bin",
        },
        append_env=True,
    )

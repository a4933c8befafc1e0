#!/bin/sh
# Runs once, when the database folder is new: databases for Prefect and MLflow, and a reader for Grafana.
set -eu
psql --set=ON_ERROR_STOP=1 --set=reader_password="$GRAFANA_DB_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE ROLE grafana LOGIN PASSWORD :'reader_password';
GRANT USAGE ON SCHEMA public TO grafana;
-- the tables do not exist yet: the worker's migrations make them, as this user
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO grafana;
SQL

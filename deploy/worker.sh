#!/bin/sh
# Brings the schema up to date, creates the work pool and the deployments, then works. Safe to run again at every start.
set -eu
cd /app
penstock db migrate
prefect --no-prompt work-pool create penstock --type process --overwrite
prefect --no-prompt deploy --all
exec prefect worker start --pool penstock --type process --name compose

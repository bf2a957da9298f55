#!/bin/sh
# Flights of a month and a carrier: downloaded, cleaned, stored in a bucket as Parquet, and loaded
# into the warehouse.
# Usage: flights.sh YEAR MONTH CARRIER
set -eu
year=$1 month=$2 carrier=$3
here=$(dirname "$0")
path="$year/$month/$carrier.parquet"

blockyard execute sql-database/staging "@$here/reset.sql"
blockyard call http-endpoint/flights get --path "$year/$month/flights.csv" --out - |
    blockyard call sql-database/staging load --table raw_flights --format csv --in -
blockyard query sql-database/staging "@$here/departures.sql" \
    --param "year=$year" --param "month=$month" --param "carrier=$carrier" --format parquet |
    blockyard call gcs-bucket/lake put --path "$path" --in -
uri=$(blockyard call gcs-bucket/lake uri --path "$path")
blockyard call bigquery-warehouse/flights load-uri --table departures --uris "[$uri]" --format parquet
blockyard call webhook/team notify --subject "flights $year-$month $carrier" --body "loaded"

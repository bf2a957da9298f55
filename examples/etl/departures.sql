-- One row per flight of a carrier in a month: typed, in a single time zone, with missing values
-- made explicit. (PostgreSQL.)
select
    make_date(year::int, month::int, day::int) as day,
    carrier,
    flight,
    nullif(tailnum, '') as aircraft,
    origin,
    dest as destination,
    -- The file contains the hour in UTC. Its clock times are local, and those of an arrival are in
    -- another zone.
    time_hour + make_interval(mins => minute::int) as scheduled,
    time_hour + make_interval(mins => (minute + dep_delay)::int) as departed,
    (time_hour + make_interval(mins => minute::int)) at time zone 'America/New_York' as scheduled_local,
    dep_delay as departure_delay,
    arr_delay as arrival_delay,
    -- The file does not mark these: a flight without departure was cancelled, one without arrival
    -- was diverted.
    dep_time is null as cancelled,
    dep_time is not null and arr_delay is null as diverted
from raw_flights
where year = :year and month = :month and carrier = :carrier
order by scheduled, flight

drop table if exists raw_flights

-- What docs/postgres.md has made once, before the first start of a relay. Run in the database postbud.
CREATE SCHEMA IF NOT EXISTS postbud AUTHORIZATION postbud;

"""armlib in other toolkits, and data that others hold: each module needs the package that it is named after."""

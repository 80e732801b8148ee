"""What the server remembers: tables, one engine, and named queries. Services are its only users."""

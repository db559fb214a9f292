"""What people look at: numbers (`info`), pictures (`figures`, `picture`), the page and the terminal, all from one `Summary`."""

"""What people look at, all from one `Summary`: numbers (`info`), figures, the page and the terminal.

`info` computes every number first; `figures` draws it, `page` and `page_parts` write `front.html`, `terminal` prints tables.
`wording` turns numbers into text, `palette` holds colours and marks.
"""

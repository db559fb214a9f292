from __future__ import annotations

import json
import re
from typing import Any

from mpsearch.report.document import document


def test_data_opens_no_element_and_comes_back_as_it_was() -> None:
    told: dict[str, Any] = {"charts": {}, "explorer": None, "name": "</script><script>alert(1)</script> & <!-- \ud800 漢"}
    page = document("<b>", "<p>text</p>", told)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert "<" not in data
    # Half a surrogate pair, which no file can hold as UTF-8, is spelled out.
    assert json.loads(data)["name"].encode("utf-16", "surrogatepass") == told["name"].encode("utf-16", "surrogatepass")
    assert "<title>&lt;b&gt; · mpsearch</title>" in page
    assert page.count("<script>") == 1
    assert page.encode()

"""One line at the end that says what passed, failed and was skipped (with -qq, as make test-beds asks)."""


def pytest_terminal_summary(terminalreporter, config):
    if config.option.verbose < -1:
        n = {k: len(terminalreporter.stats.get(k, [])) for k in ("passed", "failed", "skipped", "xfailed", "error")}
        terminalreporter.write_line(f"{n['passed']} passed, {n['failed'] + n['error']} failed, {n['skipped'] + n['xfailed']} skipped")


def pytest_collection_modifyitems(items):
    """bochs takes longest and has started with the first: what it said is asked last."""
    items.sort(key=lambda i: "vmx" in i.name)

"""What was found, as one page of Markdown."""

from statistics import median


def write_table(found, path):
    lines = [f"# gptneo-lora on a GPU ({found['backend']}{', quick' if found['quick'] else ''})", ""]
    stages = found["stages"]
    environment = stages.get("environment", {})
    lines += [environment.get("gpu", ""), "", "```", environment.get("devices", ""), "```", ""]
    for part in (check, tests, curves, training, decoding, beside, profile, products, times):
        lines += part(stages)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def check(stages):
    stage = stages.get("check")
    if not stage:
        return []
    cold, warm = stage.get("cold_seconds"), stage.get("warm_seconds")
    verdict = "passed" if stage.get("cold_ok") and stage.get("warm_ok") else f"FAILED: {stage.get('cold_said')}"
    return [f"Self-check: {verdict}; {cold} s with no kernel compiled before, {warm} s after that; "
            f"{stage.get('kernels')} kernels.", ""]


def tests(stages):
    stage = stages.get("tests")
    if not stage:
        return []
    results = stage.get("tests", {})
    bad = [name for name, result in results.items() if result.split(",")[0] not in ("ok", "ignored")]
    return [f"Tests: {sum(result == 'ok' for result in results.values())} passed, {len(bad)} failed "
            f"{' '.join(bad)}", ""]


def curves(stages):
    stage = stages.get("curves")
    if not stage:
        return []
    lines = ["| loss curve against | ours in | steps | largest difference of the loss | of the gradient norm, relative |",
             "|---|---|---:|---:|---:|"]
    for precision in ("f32", "f16", "bf16"):
        ours = stage.get(f"ours_{precision}", {})
        for other in ("f32", "tf32", precision):
            torch = stage.get(f"torch_{other}")
            if not torch or not ours.get("losses") or (other == "tf32" and precision != "f32"):
                continue
            pairs = list(zip(ours["losses"], torch["losses"]))
            norms = [(a, b) for a, b in zip(ours["grad_norms"], torch["grad_norms"]) if a and b]
            loss = max(abs(a - b) for a, b in pairs)
            norm = max((abs(a / b - 1.0) for a, b in norms), default=float("nan"))
            lines.append(f"| PyTorch {other} | {precision} | {len(pairs)} | {loss:.2e} | {norm:.2e} |")
            if other == precision and other == "f32":
                continue
            if other == precision:
                break
    for precision in ("f32", "f16", "bf16"):
        ours = stage.get(f"ours_{precision}", {})
        if ours.get("losses"):
            lines.append(f"| (ours {precision}: {ours['losses'][0]:.5f} to {ours['losses'][-1]:.5f}) | | | | |")
        elif ours:
            lines.append(f"| (ours {precision} failed: {ours.get('said', '')[-300:]!r}) | | | | |")
    return lines + [""]


def rows_of_torch(stages, what):
    return [row for row in stages.get("torch", {}).get("rows", []) if row["what"] == what]


def gigabytes(count):
    return "" if count is None else f"{count / 1e9:.2f}"


def training(stages):
    ours = {name[6:]: report for name, report in stages.get("ours", {}).items() if name.startswith("train ")}
    torch = {f"{row['shape']} {row['precision']}": row for row in rows_of_torch(stages, "train")}
    if not ours and not torch:
        return []
    lines = ["| training step | gptneo-lora, ms | PyTorch, ms | ratio | GB on the GPU, ours | PyTorch, tensors | PyTorch, held |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    for name in dict.fromkeys([*ours, *torch]):
        mine, other = ours.get(name, {}), torch.get(name, {})
        a, b = mine.get("seconds_per_step"), other.get("seconds_per_step")
        ratio = f"{a / b:.2f}" if a and b else ""
        shown = [f"{value * 1e3:.1f}" if value else report.get("error", "")[-120:].replace("\n", " ").replace("|", "/")
                 for value, report in ((a, mine), (b, other))]
        used = mine.get("gpu_memory_mb")
        memory = "" if used is None else f"{used * 1.048576 / 1e3:.2f}"
        lines.append(f"| {name} | {shown[0]} | {shown[1]} | {ratio} | {memory} | "
                     f"{gigabytes(other.get('peak_memory_bytes'))} | {gigabytes(other.get('reserved_memory_bytes'))} |")
    return lines + [""]


def decoding(stages):
    ours = {name[7:]: report for name, report in stages.get("ours", {}).items() if name.startswith("decode ")}
    torch = {f"{row['batch']} {row['precision']}": row for row in rows_of_torch(stages, "decode")}
    if not ours and not torch:
        return []
    lines = ["| decoding, batch and weights | gptneo-lora, tokens/s | PyTorch, tokens/s | ratio |", "|---|---:|---:|---:|"]
    for name in dict.fromkeys([*ours, *torch]):
        mine, other = ours.get(name, {}), torch.get(name, {})
        a, b = mine.get("tokens_per_second"), other.get("tokens_per_second")
        ratio = f"{a / b:.2f}" if a and b else ""
        shown = [f"{value:.0f}" if value else report.get("error", "")[-120:].replace("\n", " ").replace("|", "/")
                 for value, report in ((a, mine), (b, other))]
        lines.append(f"| {name} | {shown[0]} | {shown[1]} | {ratio} |")
    return lines + [""]


def beside(stages):
    lines = []
    for name, report in stages.get("beside", {}).items():
        if isinstance(report, dict):
            seconds, tokens = report.get("seconds_per_step"), report.get("tokens_per_second")
            said = f"{seconds * 1e3:.1f} ms a step" if seconds else f"{tokens:.0f} tokens/s" if tokens else report.get("error")
            lines.append(f"- the second program, {name}: {said}, {report.get('process_seconds')} s in all, "
                         "with kernels that it compiles")
    return lines + [""] if lines else []


def profile(stages):
    lines = []
    logged = [(f"{precision}, each waited for", stage) for precision, stage in stages.get("profile", {}).items()]
    for what, stage in [*logged, ("f16, as ncu sees it", stages.get("ncu"))]:
        if not isinstance(stage, dict) or not stage.get("kernels"):
            continue
        total = stage["microseconds"]
        lines += [f"Kernels of a training step, {what}: {stage['launches']} launches, {total / 1e3:.1f} ms.", "",
                  "| kernel | ms | launches | share |", "|---|---:|---:|---:|"]
        for name, microseconds, count in stage["kernels"][:20]:
            short = name.replace("|", "/")[:110]
            lines.append(f"| {short} | {microseconds / 1e3:.2f} | {count} | {microseconds / total:.0%} |")
        lines.append("")
    return lines


def products(stages):
    """Of each product the three fastest kernels that agree with Burn's own."""
    by_product = {}
    for row in stages.get("products", {}).get("rows", []):
        name = f"{row['rows']} x {row['terms']} x {row['columns']} {row['number']}"
        turned = "".join("T" if is_turned else "N" for is_turned in row["turned"])
        by_product.setdefault(f"{name} {turned}", []).append(row)
    if not by_product:
        return []
    lines = ["| rows x terms x columns | kernels, us and 10^12 operations/s |", "|---|---|"]
    for name, rows in by_product.items():
        made = sorted((row for row in rows if row.get("apart", 1) < 0.02), key=lambda row: row["seconds"])
        best = "; ".join(f"{row['way']} {row['seconds'] * 1e6:.0f}, {row['tera_operations']:.0f}" for row in made[:3])
        lines.append(f"| {name} | {best} |")
    return lines + [""]


def times(stages):
    lines = ["| stage | s | |", "|---|---:|---|"]
    for name, stage in stages.items():
        note = stage.get("error", stage.get("skipped", ""))
        lines.append(f"| {name} | {stage.get('seconds', '')} | {str(note)[:200]} |")
    ours = stages.get("curves", {}).get("ours_f16", {}).get("seconds") or []
    if ours and all(ours):
        lines += ["", f"Seconds of a step of the f16 curve, median: {median(ours):.4f}"]
    return lines + [""]

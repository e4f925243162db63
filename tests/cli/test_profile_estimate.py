"""tracewrap profile estimate."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tracewrap.cli import main
from tracewrap.runtime.files import load_profile


def test_a_known_model_on_a_known_gpu_is_written_as_a_profile(tmp_path: Path) -> None:
    """The file is a profile that evaluates."""
    file = tmp_path / "p.json"
    assert main(["profile", "estimate", "--model", "llama-3.1-8b-instant", "--gpu", "h100", "-o", str(file)]) == 0
    profile = load_profile(file)
    assert profile.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert profile.n_gpus == 1
    assert profile.estimate(1000, 100).value > 0


def test_a_config_file_stands_for_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any architecture with a config.json has a profile."""
    config = {"model_type": "llama", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8}
    config |= {"intermediate_size": 1024, "vocab_size": 1000, "max_position_embeddings": 2048}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["profile", "estimate", "--config", str(file), "--gpu", "l4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stack"]["gpu"] == "l4"


def test_without_a_file_a_summary_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary names the stack and gives times with intervals."""
    words = ["profile", "estimate", "--model", "llama-3.3-70b", "--gpu", "h100", "--n-gpus", "4", "--stack", "trtllm"]
    assert main([*words, "--precision", "fp8"]) == 0
    out = capsys.readouterr().out
    assert "h100-sxmx4:trtllm-1:fp8" in out
    assert "time per output token" in out
    assert "power 55% of 700 W a GPU" in out
    assert "price $6.88 (AWS p5, 2026-11) per GPU-hour; vendors ask $2.69 (RunPod, 2026-09) to $12.29" in out
    assert "4 GPUs give " in out
    assert "moves most with, each 20% off: output tokens" in out


def test_what_is_assumed_about_power_and_price_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A card without a measured share of its limit and without a price: the one is named, the other left out."""
    assert main(["profile", "estimate", "--model", "llama-3.1-8b", "--gpu", "mi355x", "--concurrency", "4"]) == 0
    out = capsys.readouterr().out
    assert "power 64% of 1400 W a GPU (55% for one request assumed)" in out
    assert "price" not in out
    assert "GPUs give" not in out


def test_a_few_samples_move_the_estimate_towards_them(tmp_path: Path) -> None:
    """Three queries 20% slower than the analytic profile give a few-shot profile that is slower and surer."""
    prior_file, file, samples = tmp_path / "prior.json", tmp_path / "p.json", tmp_path / "s.csv"
    words = ["profile", "estimate", "--model", "llama-3.1-8b", "--gpu", "h100"]
    assert main([*words, "-o", str(prior_file)]) == 0
    prior = load_profile(prior_file)
    points = [(1, 64), (1024, 1), (512, 128)]
    rows = [f"{p},{o},{1.2 * prior.runtime(p, o)}" for p, o in points]
    samples.write_text("\n".join(["input_tokens,output_tokens,runtime_s", *rows]) + "\n", encoding="utf-8")
    assert main([*words, "--samples", str(samples), "-o", str(file)]) == 0
    refined = load_profile(file)
    assert refined.provenance == "few_shot"
    for p, o in ((2000, 300), (100, 500)):
        before, after = prior.estimate(p, o), refined.estimate(p, o)
        assert after.value / before.value == pytest.approx(1.2, rel=0.05)
        assert after.high / after.value < before.high / before.value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "gpt-4o", "--gpu", "h100"], "no architecture for model 'gpt-4o'"),
        (["--model", "llama-3.1-8b", "--gpu", "h99"], "no GPU 'h99'"),
        (["--model", "llama-3.1-8b", "--gpu", "h100", "--stack", "x"], "no stack 'x'"),
        (["--model", "llama-3.1-8b", "--gpu", "h100", "--n-gpus", "0"], "n_gpus is 0"),
        (["--model", "llama-3.1-8b", "--gpu", "h100", "--precision", "int1"], "precision is 'int1'"),
        (["--config", "nowhere.json", "--gpu", "h100"], "nowhere.json: cannot be read"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors name the thing and the value, and nothing is written."""
    file = tmp_path / "p.json"
    assert main(["profile", "estimate", *words, "-o", str(file)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not file.exists()


HEADER = "model,gpu,n_gpus,stack,precision,input_tokens,output_tokens,concurrency,mine"
CASES = (
    "meta-llama/Llama-3.1-8B-Instruct,h100,1,vllm-0.11.2,bf16,1024,256,1,a",
    "deepseek-ai/DeepSeek-R1,h200-sxm,8,,fp8,1024,1024,4,b",
    "openai/gpt-oss-120b,b200,,trtllm-1.2.0rc2,,1024,1024,,c",
    "no/such-model,h100,1,vllm,bf16,1,1,1,d",
    "meta-llama/Llama-3.1-8B-Instruct,h100,1,vllm,bf16,many,1,1,e",
)


def test_a_table_gets_first_token_and_time_per_token_with_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row keeps its columns and gets eight more; one that cannot be estimated has its reason in note."""
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join([HEADER, *CASES]) + "\n", encoding="utf-8")
    assert main(["profile", "estimate", "--table", str(source), "-o", str(out)]) == 0
    assert "5 rows, 2 without an estimate" in capsys.readouterr().out
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mine"] for row in rows] == list("abcde")
    for row in rows[:3]:
        for name in ("ttft", "tpot"):
            value = row["predicted_ttft_s" if name == "ttft" else "predicted_time_per_output_token_s"]
            assert 0 < float(row[f"{name}_low_s"]) < float(value) < float(row[f"{name}_high_s"])
        assert row["provenance"] in ("analytic", "analytic_calibrated")
    assert rows[1]["note"].startswith("no stack named")
    assert "no architecture for model 'no/such-model'" in rows[3]["note"]
    assert "input_tokens is 'many'" in rows[4]["note"]
    assert rows[3]["predicted_ttft_s"] == rows[3]["provenance"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [("model,gpu\na,b\n", "column 'input_tokens' is missing"), ("", "column 'model'"), (HEADER + "\n", "holds no row")],
)
def test_a_broken_table_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    """Exit 2 and one line that names the file."""
    source = tmp_path / "in.csv"
    source.write_text(text, encoding="utf-8")
    assert main(["profile", "estimate", "--table", str(source)]) == 2
    assert message in capsys.readouterr().err


def test_options_that_the_tables_columns_say_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A GPU beside a table is a mistake, not a default; without a table one is needed."""
    assert main(["profile", "estimate", "--table", "x.csv", "--gpu", "h100"]) == 2
    assert "--gpu does not go with --table" in capsys.readouterr().err
    assert main(["profile", "estimate", "--model", "llama-3.1-8b"]) == 2
    assert "--gpu is missing" in capsys.readouterr().err


def test_concurrency_is_a_servers_number_of_requests_in_flight(capsys: pytest.CaptureFixture[str]) -> None:
    """The profile of eight at a time is slower than that of one, and says so."""
    words = ["profile", "estimate", "--model", "llama-3.1-8b", "--gpu", "h100", "--json"]
    assert main(words) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main([*words, "--concurrency", "8"]) == 0
    eight = json.loads(capsys.readouterr().out)
    assert eight["stack"]["batch"] == 8
    assert eight["d0"] > alone["d0"]

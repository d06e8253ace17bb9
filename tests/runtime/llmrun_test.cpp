// llmrun and the C program, as processes: exit statuses, one line of error, JSON, what they are
// linked with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/runtime/example_plan.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;
using testing::StartsWith;

struct Output {
  int status = -1;
  std::string out, err;
};

std::string readText(const std::string& path) {
  const std::vector<uint8_t> bytes = example::readFile(path);
  return {bytes.begin(), bytes.end()};
}

Output shell(const std::string& command) {
  example::TempDir dir;
  const int status = std::system(
      ("(" + command + ") </dev/null >" + (dir / "out") + " 2>" + (dir / "err")).c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, readText(dir / "out"),
          readText(dir / "err")};
}

struct Llmrun : testing::Test {
  Model model;

  Output run(const std::string& flags) {
    return shell(std::string(LLMRUN) + " " + model.path + " " + flags);
  }
  std::string error(const std::string& flags, int status = 1) {
    const Output o = run(flags);
    EXPECT_EQ(o.status, status) << o.err;
    EXPECT_EQ(o.out, "");
    EXPECT_THAT(o.err, StartsWith("llmrun: error: "));
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    return o.err;
  }
};

TEST_F(Llmrun, PrintsTheContinuation) {
  const Output o = run("--synthetic-weights --prompt abc -n 5 --ignore-eos");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out.back(), '\n');
  EXPECT_EQ(o.err, "");
}

TEST_F(Llmrun, JsonIsOneLineWithEveryField) {
  const Output o = run("--synthetic-weights --prompt abc -n 5 --ignore-eos --json --top-logits 2");
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(o.out);
  EXPECT_EQ(json["prompt_ids"], (std::vector<int>{0, 2, 3, 4}));
  EXPECT_EQ(json["ids"].size(), 5u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["steps"].size(), 5u);
  EXPECT_EQ(json["steps"][0][0][0], json["ids"][0]);
  for (const char* key :
       {"text", "ttft_ms", "prefill_tok_s", "decode_tok_s", "decode_gb_s", "bytes_per_token"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
}

TEST_F(Llmrun, GivesTheSameIdsForAnyThreadsChunkAndSource) {
  example::writeFile(model.dir / "prompt", {'a', 'b', 'c', ' ', 'd'});
  const auto ids = [&](const std::string& flags) {
    const Output o = run("--synthetic-weights=3 --json --ignore-eos -n 20 " + flags);
    EXPECT_EQ(o.status, 0) << o.err;
    return nlohmann::json::parse(o.out)["ids"];
  };
  const auto expected = ids("--prompt 'abc d'");
  EXPECT_EQ(ids("--prompt-file " + (model.dir / "prompt")), expected);
  EXPECT_EQ(ids("--prompt-ids 0,2,3,4,28,5"), expected);
  EXPECT_EQ(ids("--prompt 'abc d' --threads 1 --prefill-chunk 1"), expected);
  EXPECT_EQ(ids("--prompt 'abc d' --threads 3 --prefill-chunk 2 --max-seq-len 64"), expected);
  const Output piped = shell("printf 'abc d' | " + std::string(LLMRUN) + " --synthetic-weights=3 " +
                             model.path + " --json --ignore-eos -n 20");
  EXPECT_EQ(nlohmann::json::parse(piped.out)["ids"], expected);
}

TEST_F(Llmrun, MeasuresPerplexity) {
  std::vector<uint8_t> text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<uint8_t>('a' + i * i % 26));
  example::writeFile(model.dir / "text", text);
  const Output o =
      run("--synthetic-weights --json --max-seq-len 50 --perplexity " + (model.dir / "text"));
  ASSERT_EQ(o.status, 0) << o.err;
  const auto json = nlohmann::json::parse(o.out);
  EXPECT_EQ(json["tokens"], 301 - 7);  // seven windows
  EXPECT_GT(json["ppl"], 1);
  EXPECT_EQ(nlohmann::json::parse(run("--synthetic-weights --json --max-tokens 50 --perplexity " +
                                      (model.dir / "text"))
                                      .out)["tokens"],
            49);
}

TEST_F(Llmrun, SaysWhatIsWrongInOneLine) {
  EXPECT_THAT(error("--prompt a"), HasSubstr("plan.weights: no such file"));
  EXPECT_THAT(error("--weights " + model.path + " --prompt a"), HasSubstr("is not a weights file"));
  const std::string synthetic = "--synthetic-weights ";
  EXPECT_THAT(error(synthetic + "--prompt $(printf '\\377')"),
              HasSubstr("--prompt: is not UTF-8 at byte 0"));
  EXPECT_THAT(error(synthetic + "--prompt-file /no/such"), HasSubstr("/no/such: no such file"));
  EXPECT_THAT(error(synthetic + "--prompt-file " + (model.dir / "")), HasSubstr("directory"));
  EXPECT_THAT(error(synthetic + "--prompt abcdefgh --max-seq-len 5"),
              HasSubstr("the prompt has 9 tokens, the context holds 5"));
  EXPECT_THAT(error(synthetic + "--prompt a --max-seq-len 500"), HasSubstr("--max-seq-len 500"));
  EXPECT_THAT(error(synthetic + "--prompt-ids 1,50"), HasSubstr("token id 50"));
  EXPECT_THAT(error(synthetic + "--prompt a --top-p 0"), HasSubstr("--top-p 0"));
  EXPECT_THAT(error(synthetic + "--prompt a --device cuda"), HasSubstr("--device cuda"));
  EXPECT_THAT(error(synthetic + "--prompt a --cpu-target aarch65"),
              HasSubstr("--cpu-target aarch65"));
}

TEST_F(Llmrun, WrongUsageIsStatus2) {
  EXPECT_THAT(error("--no-such-flag", 2), HasSubstr("--no-such-flag"));
  error("--prompt a --prompt-ids 1", 2);
  error("--threads 0", 2);
  error("--synthetic-weights=x --prompt a", 2);
  error("--synthetic-weights --prompt a --top-logits 3", 2);
  for (const char* ids : {"''", "1,", ",1", "1,x", "1x", "99999999999"}) {
    EXPECT_THAT(error("--synthetic-weights --prompt-ids " + std::string(ids), 2),
                HasSubstr("--prompt-ids"));
  }
  EXPECT_THAT(error("--synthetic-weights --weights w --prompt a", 2), HasSubstr("excludes"));
  EXPECT_THAT(error("--synthetic-weights --verify-weights --prompt a", 2), HasSubstr("excludes"));
  EXPECT_EQ(shell(LLMRUN).status, 2);
  EXPECT_EQ(shell(std::string(LLMRUN) + " --help").status, 0);
}

TEST_F(Llmrun, ProfilesWhatCannotGoBack) {
  const Model recurrent(example::addRecurrent);
  const Output o = shell(std::string(LLMRUN) + " " + recurrent.path +
                         " --synthetic-weights --prompt a -n 3 --ignore-eos --threads 1 --profile");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_THAT(o.err, HasSubstr("accumulate"));
}

TEST_F(Llmrun, OutOfMemoryIsAnError) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer needs all of the address space";
#endif
  Model big([](schema::PlanT& p) {
    p.model->max_seq_len = 1 << 20;
    p.states[0]->head_dim = p.states[0]->head_dim_padded = 64;
  });
  const Output o = shell("ulimit -v 500000; " + std::string(LLMRUN) + " " + big.path +
                         " --synthetic-weights --prompt a --threads 1");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("out of memory"));
}

// A context is what fits, said before it is missed; text beyond it is refused with both numbers.
TEST_F(Llmrun, SaysHowMuchContextFitsInItsMemory) {
  const Model big([](schema::PlanT& p) { p.model->max_seq_len = 1 << 20; });
  const auto llmrun = [&](const std::string& flags) {
    return shell(std::string(LLMRUN) + " " + big.path + " --synthetic-weights --threads 1 " +
                 flags);
  };
  const Output fits = llmrun("--memory 4194304 --prompt a -n 3 --json");
  ASSERT_EQ(fits.status, 0) << fits.err;
  EXPECT_THAT(fits.err,
              testing::MatchesRegex("The context has [0-9]+ tokens of the plan's 1048576: "
                                    "so many fit in 0.00 GiB beside the weights "
                                    "\\(--memory\\)\n"));
  const std::string tokens = fits.err.substr(16, fits.err.find(" tokens") - 16);
  EXPECT_EQ(std::stoi(tokens) % 64, 0);
  example::writeFile(big.dir / "long", std::vector<uint8_t>(20'000, 'a'));
  const Output refused = llmrun("--memory 4194304 --prompt-file " + (big.dir / "long"));
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("the prompt has 20001 tokens, the context holds " + tokens));
  const Output asked = llmrun("--memory 4194304 --max-seq-len 100000 --prompt a");
  EXPECT_EQ(asked.status, 1);
  EXPECT_THAT(asked.err, HasSubstr("100000 tokens of context"));
  EXPECT_EQ(llmrun("--max-seq-len 1000 --prompt a -n 3").err, "") << "it was asked for";
}

TEST_F(Llmrun, FullOutputIsAnError) {
  const Output o = run("--synthetic-weights --prompt a -n 3 --ignore-eos >/dev/full");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("stdout"));
}

TEST_F(Llmrun, InterruptEndsAtATokenWithStatus130) {
  Model endless([](schema::PlanT& p) { p.model->max_seq_len = 1 << 20; });
  // Three seconds, for a machine with much else to do: the tables of so long a context come first.
  const Output o =
      shell("timeout --foreground --signal=INT --preserve-status 3 " + std::string(LLMRUN) + " " +
            endless.path + " --synthetic-weights --prompt a -n 100000000 --ignore-eos --threads 1");
  EXPECT_EQ(o.status, 130) << o.err;
  ASSERT_FALSE(o.out.empty());
  EXPECT_EQ(o.out.back(), '\n');
}

TEST_F(Llmrun, ProfileShowsEveryOpAndItsLimit) {
  const Output o = run("--synthetic-weights --prompt a -n 3 --ignore-eos --profile");
  EXPECT_EQ(o.status, 0);
  for (const char* word : {"GB/s", "embed", "attention", "linear_residual", "logits", "of limit"}) {
    EXPECT_THAT(o.err, HasSubstr(word));
  }
}

TEST_F(Llmrun, ProfileHasThePromptAndLeavesOutWarmUp) {
  // 2 tokens run through the code of decode steps, 3 more steps.
  const Output brief = run("--synthetic-weights --prompt a -n 4 --ignore-eos --profile");
  EXPECT_THAT(brief.err, HasSubstr("\ndecode: 4 steps, "));
  EXPECT_THAT(brief.err, HasSubstr("(prefill: of a prompt of 24 tokens made up for it"));
  EXPECT_THAT(brief.err, HasSubstr("\nprefill: 1 steps, "));
  const Output prompt =
      run("--synthetic-weights --prompt abcdefghijklmnopqrstuvwxyzabcdefghij -n 4 --ignore-eos "
          "--profile");
  EXPECT_THAT(prompt.err, HasSubstr("\nprefill: 2 steps, "));
  EXPECT_THAT(prompt.err, HasSubstr("\ndecode: 3 steps, "));
  EXPECT_THAT(prompt.err, testing::Not(HasSubstr("made up")));
  EXPECT_EQ(prompt.out,
            run("--synthetic-weights --prompt abcdefghijklmnopqrstuvwxyzabcdefghij -n 4 "
                "--ignore-eos")
                .out);
}

TEST(LlmrunBinary, IsSmallAndLinksNothingButTheCLibraries) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "sanitizers add libraries and code";
#endif
  const Output ldd = shell(std::string("ldd ") + LLMRUN);
  std::istringstream lines(ldd.out);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_THAT(line, testing::ContainsRegex(
                          "linux-vdso|ld-linux|libc\\.so|libm\\.so|libstdc\\+\\+|libgcc_s"));
  }
  example::TempDir dir;
  ASSERT_EQ(shell("strip -o " + (dir / "stripped") + " " + LLMRUN).status, 0);
  EXPECT_LT(std::filesystem::file_size(dir / "stripped"), 3u << 20);
  EXPECT_EQ(shell(std::string("nm -C ") + LLMRUN + " | grep -E 'llvm::|mlir::'").out, "");
  EXPECT_EQ(shell(std::string("nm -C ") + LLMRT_LIBRARY + " | grep -E 'llvm::|mlir::'").out, "");
}

TEST(CApi, WorksFromC) {
  const Model model([](schema::PlanT& plan) {
    plan.chat_template =
        "{% for m in messages %}{{ m.role[0] }} {{ m.content }}!{% endfor %}"
        "{% if add_generation_prompt %}a {% endif %}";
  });
  const Output o = shell(std::string(C_API_TEST) + " " + model.path);
  EXPECT_EQ(o.status, 0) << o.err;
}

TEST(Llmbench, ReportsRatiosToLimits) {
  const Model model;
  const Output o = shell(
      std::string(LLMBENCH) + " " + model.path +
      " --synthetic-weights --prefill 30 --decode 10 --depth 5 --repeat 2 --threads 1 --json");
  ASSERT_EQ(o.status, 0) << o.err;
  const auto json = nlohmann::json::parse(o.out);
  for (const char* key : {"decode_tok_s", "decode_gb_s", "decode_limit_gb_s", "prefill_tok_s",
                          "prefill_gflop_s", "prefill_limit_gflop_s"}) {
    EXPECT_GT(json[key], 0) << key;
    EXPECT_LE(json["spread"][key][0], json[key]) << key;
    EXPECT_GE(json["spread"][key][1], json[key]) << key;
  }
  EXPECT_DOUBLE_EQ(json["decode_ratio"],
                   json["decode_gb_s"].get<double>() / json["decode_limit_gb_s"].get<double>());
  const Output bad =
      shell(std::string(LLMBENCH) + " " + model.path + " --synthetic-weights --prefill 300");
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.err, HasSubstr("--prefill 300: the context holds 200 tokens"));
}

TEST(Llmbench, ReplaysATraceOfRequests) {
  const Model model;
  const std::string trace = model.dir / "trace.jsonl";
  const auto write = [&](const std::string& text) {
    example::writeFile(trace, {text.begin(), text.end()});
  };
  const auto replay = [&](const std::string& flags) {
    return shell(std::string(LLMBENCH) + " " + model.path + " --synthetic-weights --arrivals " +
                 trace + flags);
  };
  std::string lines;
  for (int i = 0; i < 6; ++i)
    lines += R"({"time": 0.01, "prompt": 70, "prefix": 66, "tokens": 9})"
             "\n";
  write(lines + "\n" + R"({"prompt": 5, "tokens": 1})");
  const Output o = replay(" --json --batch 2 --threads 1 --kv-tokens 200");
  ASSERT_EQ(o.status, 0) << o.err;
  const auto json = nlohmann::json::parse(o.out);
  EXPECT_EQ(json["requests"], 7);
  EXPECT_EQ(json["sequences"], 2);
  EXPECT_EQ(json["tokens"], 6 * 9 + 1);
  EXPECT_EQ(json["prompt_tokens"], 6 * 70 + 5);
  EXPECT_GE(json["cached_tokens"], 66);
  EXPECT_GT(json["tok_s"], 0);
  EXPECT_GE(json["ttft_ms"]["p99"], json["ttft_ms"]["p50"]);
  EXPECT_THAT(replay("").out, HasSubstr("at most 3 at once"));
  const auto refuses = [&](const std::string& line, const std::string& why) {
    write(lines + line);
    const Output refused = replay("");
    EXPECT_EQ(refused.status, 1) << line;
    EXPECT_THAT(refused.err, HasSubstr(why)) << line;
  };
  refuses("{", "line 7: is no JSON object");
  refuses(R"({"prompt": 5, "tokens": 1, "when": 2})", "line 7: has the field 'when'");
  refuses(R"({"prompt": 5.5, "tokens": 1})", "line 7: prompt is 5.5");
  refuses(R"({"prompt": 5})", "prompt and tokens must be 1 or more");
  refuses(R"({"prompt": 5, "prefix": 6, "tokens": 1})", "prefix is longer");
  refuses(R"({"time": -1, "prompt": 5, "tokens": 1})", "time is not between");
  refuses(R"({"prompt": 195, "tokens": 7})", "201 tokens, the context holds 200");
}

TEST(Llmbench, DecodesSeveralSequencesAtOnce) {
  const Model model;
  const std::string command =
      std::string(LLMBENCH) + " " + model.path +
      " --synthetic-weights --prefill 0 --decode 10 --repeat 1 --threads 1 --batch ";
  const auto report = [&](const std::string& flags) {
    const Output o = shell(command + flags + " --json");
    EXPECT_EQ(o.status, 0) << o.err;
    return nlohmann::json::parse(o.out);
  };
  const auto one = report("1"), deep = report("1 --depth 70"), three = report("3 --depth 70");
  EXPECT_EQ(three["batch"], 3);
  EXPECT_GT(three["decode_gflop_s"], 0);
  EXPECT_GT(three["decode_limit_gflop_s"], 0);
  EXPECT_DOUBLE_EQ(three["decode_limit_ratio"],
                   three["decode_tok_s"].get<double>() / three["decode_limit_tok_s"].get<double>());
  const auto figure = [](const nlohmann::json& of, const char* key) {
    return of[key].get<double>();
  };
  // Weights are read once for all, keys and values once for each.
  const double kv =
      figure(deep, "bytes_per_token") - figure(one, "bytes_per_token");  // of 70 tokens
  EXPECT_NEAR(3 * figure(three, "bytes_per_token") - figure(deep, "bytes_per_token"), 2 * kv,
              0.2 * kv);
  EXPECT_NEAR(figure(three, "decode_gb_s") * 1e9 / figure(three, "decode_tok_s"),
              figure(three, "bytes_per_token"), 1e-6 * figure(three, "bytes_per_token"));
  EXPECT_THAT(shell(command + "3").out, HasSubstr("decode 3 x 10 tokens at depth 0"));
  const Output bad = shell(command + "4");
  EXPECT_EQ(bad.status, 1);
  EXPECT_EQ(bad.err, "llmbench: error: --batch 4: " + model.path +
                         " was compiled for 3 sequences at once: llmc compile MODEL -o " +
                         model.path + " --max-batch 4\n");
}

// What no round can take back is filled again: the context has room for one round alone.
TEST(Llmbench, MeasuresAtADepthThatWindowsHavePassed) {
  const Model windowed([](schema::PlanT& p) {
    p.model->max_seq_len = 700;
    example::addWindow(p);
  });
  const Model recurrent(example::addRecurrent);
  for (const auto& [model, flags] : {std::pair(&windowed, " --depth 500 --decode 200"),
                                     std::pair(&recurrent, " --depth 150 --decode 50")}) {
    const Output o =
        shell(std::string(LLMBENCH) + " " + model->path +
              " --synthetic-weights --prefill 0 --repeat 2 --threads 1 --json" + flags);
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_GT(nlohmann::json::parse(o.out)["decode_tok_s"], 0);
  }
}

TEST(Llmbench, ComparesPlansInTheSameRounds) {
  const Model model, other;
  const std::string command = std::string(LLMBENCH) + " " + model.path +
                              " --synthetic-weights --prefill 30 --decode 10 --repeat 1 --ablate " +
                              other.path;
  const Output o = shell(command + " --json");
  ASSERT_EQ(o.status, 0) << o.err;
  const auto json = nlohmann::json::parse(o.out);
  ASSERT_EQ(json["ablation"].size(), 1u);
  const auto& ablation = json["ablation"][0];
  EXPECT_EQ(ablation["plan"], other.path);
  EXPECT_EQ(ablation["disabled"], "nothing");
  EXPECT_DOUBLE_EQ(ablation["decode_to_first"],
                   ablation["decode_tok_s"].get<double>() / json["decode_tok_s"].get<double>());
  EXPECT_THAT(shell(command).out, HasSubstr("without"));
  EXPECT_THAT(shell(command + "x").err, HasSubstr(other.path + "x"));
  EXPECT_THAT(shell(command + "x").err,
              StartsWith("llmbench: error: " + other.path + "x: no such file"));
}

TEST(Llmbench, RefusesToMeasureNothing) {
  const Model model;
  const auto error = [&](const std::string& flags) {
    const Output o =
        shell(std::string(LLMBENCH) + " " + model.path + " --synthetic-weights " + flags);
    EXPECT_EQ(o.status, 2) << o.err;
    EXPECT_EQ(o.out, "");
    return o.err;
  };
  EXPECT_THAT(error("--prefill 0 --decode 0"), HasSubstr("nothing to measure"));
  EXPECT_THAT(error("--decode 0 --depth 5"), HasSubstr("--depth"));
  EXPECT_THAT(error("--decode 0 --batch 2"), HasSubstr("--batch"));
}

}  // namespace
}  // namespace llmrt

// Conversations: what is prefilled, what stays after a failure, and that reuse changes no answer.
#include "runtime/chat/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <set>

#include "runtime/jinja/json_text.h"
#include "runtime/schema/plan_generated.h"
#include "tests/jinja/allocations.h"
#include "tests/runtime/example_plan.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using example::Model;
using ::testing::HasSubstr;

// Within the toy's alphabet.
constexpr char kTemplate[] =
    "{% for m in messages %}{{ m.role[0] }} {{ m.content }}!{% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}";

struct Fixture : ::testing::Test {
  Model model;
  std::unique_ptr<Session> session = model.session();
  Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
  jinja::Template chat_template = *jinja::Template::parse(kTemplate, "t");

  Conversation conversation(std::string system = "") {
    return Conversation(*session, tokenizer, chat_template, std::move(system));
  }
  Conversation::Answer ask(Conversation& conversation, const std::string& text,
                           GenerateOptions options = {.max_tokens = 10}) {
    auto answer = conversation.answer(text, options);
    EXPECT_TRUE(answer.ok()) << answer.status().message();
    return answer.ok() ? *std::move(answer) : Conversation::Answer();
  }
  // What a session that knows nothing yet makes of the same tokens.
  std::vector<int32_t> fresh(const std::vector<int32_t>& prompt) {
    const auto other = model.session();
    return generate(*other, &tokenizer, prompt, {.max_tokens = 10})->ids;
  }
};

size_t commonPrefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
  return n;
}

using ConversationTest = Fixture;

TEST_F(ConversationTest, TheSharedPrefixIsNeverPrefilledTwice) {
  Conversation chat = conversation("be kind");
  Conversation::Answer before = ask(chat, "hello");
  EXPECT_EQ(before.result.cached_tokens, 0);
  EXPECT_EQ(before.result.prompt_tokens, static_cast<int64_t>(before.prompt_ids.size()));
  EXPECT_EQ(tokenizer.decode(before.prompt_ids), "s be kind!u hello!a ");
  for (const char* text : {"more", "what, then?", "I see"}) {
    std::vector<int32_t> cached = before.prompt_ids;
    cached.insert(cached.end(), before.result.ids.begin(), before.result.ids.end());
    cached.pop_back();  // sampled, not run
    const Conversation::Answer now = ask(chat, text);
    const size_t common = commonPrefix(cached, now.prompt_ids);
    EXPECT_EQ(common, cached.size()) << "answers keep their tokens";
    EXPECT_EQ(now.result.cached_tokens, static_cast<int64_t>(common));
    EXPECT_EQ(now.result.prompt_tokens, static_cast<int64_t>(now.prompt_ids.size() - common));
    EXPECT_EQ(now.result.ids, fresh(now.prompt_ids)) << "reuse changes the answer";
    before = now;
  }
  EXPECT_EQ(chat.messages().size(), 9u);
}

TEST_F(ConversationTest, ATemplateMayRewriteThePast) {
  // As those do that drop earlier reasoning: the answer differs from what is cached.
  chat_template = *jinja::Template::parse(
      "{% for m in messages %}{{ m.role[0] }} {{ m.content if m.role == 'user' else '...' }}!{% "
      "endfor %}a ",
      "t");
  Conversation chat = conversation();
  const Conversation::Answer first = ask(chat, "hello");
  const Conversation::Answer second = ask(chat, "more");
  EXPECT_GE(second.result.cached_tokens, static_cast<int64_t>(first.prompt_ids.size()));
  EXPECT_EQ(second.result.ids, fresh(second.prompt_ids));
}

TEST_F(ConversationTest, ResetKeepsTheSystemMessageAndItsTokens) {
  Conversation chat = conversation("be kind");
  ask(chat, "hello");
  chat.reset();
  EXPECT_EQ(chat.messages().size(), 1u);
  const Conversation::Answer again = ask(chat, "bye");
  EXPECT_EQ(tokenizer.decode(again.prompt_ids), "s be kind!u bye!a ");
  EXPECT_EQ(again.result.cached_tokens, static_cast<int64_t>(std::string("s be kind!u ").size()));
  EXPECT_EQ(again.result.ids, fresh(again.prompt_ids));
}

TEST_F(ConversationTest, TheSamePromptAgainRunsOneToken) {
  Conversation chat = conversation();
  const Conversation::Answer first = ask(chat, "hello");
  chat.reset();
  const Conversation::Answer again = ask(chat, "hello");
  EXPECT_EQ(again.result.prompt_tokens, 1);
  EXPECT_EQ(again.result.ids, first.result.ids);
}

TEST_F(ConversationTest, AFullContextLeavesTheConversationAsItWas) {
  session = model.session({.threads = 1, .max_seq_len = 40});
  Conversation chat = conversation();
  ask(chat, "hello");
  const auto answer =
      chat.answer("this is far too long for what is left of it", {.max_tokens = 10});
  EXPECT_EQ(answer.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(answer.status().message(), HasSubstr("the context holds 40 (`max_seq_len`)"));
  EXPECT_EQ(chat.messages().size(), 2u);
  chat.reset();
  const Conversation::Answer next = ask(chat, "hm", {.max_tokens = 1000});
  EXPECT_EQ(next.result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(next.prompt_ids.size() + next.result.ids.size(), 41u);  // the last needs no place
}

TEST_F(ConversationTest, CancellingKeepsAPartOfAnAnswerOrNothing) {
  Conversation chat = conversation();
  std::atomic<bool> cancel{true};
  GenerateOptions options{.max_tokens = 50};
  options.cancel = &cancel;
  EXPECT_EQ(ask(chat, "hello", options).result.finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(chat.messages().empty());
  cancel = false;
  options.on_text = [&](std::string_view) { cancel = true; };
  const Conversation::Answer part = ask(chat, "hello", options);
  EXPECT_EQ(part.result.finish_reason, FinishReason::kCancelled);
  EXPECT_LT(part.result.ids.size(), 50u);
  ASSERT_EQ(chat.messages().size(), 2u);
  EXPECT_EQ(chat.messages()[1].content, part.result.text);
  const Conversation::Answer next = ask(chat, "more");
  EXPECT_EQ(next.result.ids, fresh(next.prompt_ids));
}

TEST_F(ConversationTest, WhatOthersDoWithTheSequenceChangesNoAnswer) {
  Conversation chat = conversation();
  ask(chat, "hello");
  session->reset(0);
  const Conversation::Answer after_reset = ask(chat, "more");
  EXPECT_GT(after_reset.result.cached_tokens, 0);  // the session still has them
  EXPECT_EQ(after_reset.result.ids, fresh(after_reset.prompt_ids));

  // Another's tokens, as many as there were or more.
  Conversation other = conversation("be kind");
  ask(other, "what, then, is it that I see", {.max_tokens = 60});
  const Conversation::Answer after_other = ask(chat, "I see");
  EXPECT_GT(after_other.result.cached_tokens, 0);
  EXPECT_EQ(after_other.result.ids, fresh(after_other.prompt_ids));
  const Conversation::Answer others = ask(other, "more");
  EXPECT_EQ(others.result.ids, fresh(others.prompt_ids));
}

TEST_F(ConversationTest, WhatThrowsLeavesTheConversationAsItWas) {
  Conversation chat = conversation();
  ask(chat, "hello");
  int tokens = 0;
  GenerateOptions options{.max_tokens = 20};
  options.on_text = [&](std::string_view) {
    if (++tokens == 5) throw std::bad_alloc();
  };
  EXPECT_THROW((void)chat.answer("what, then?", options), std::bad_alloc);
  EXPECT_EQ(chat.messages().size(), 2u);
  const Conversation::Answer next = ask(chat, "more");
  EXPECT_EQ(chat.messages().size(), 4u);
  EXPECT_EQ(next.result.ids, fresh(next.prompt_ids));
}

TEST_F(ConversationTest, WhatTheTemplateRefusesIsAnErrorAndNoMessage) {
  chat_template = *jinja::Template::parse(
      "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}a", "t");
  Conversation chat = conversation();
  ask(chat, "hello");
  EXPECT_EQ(chat.answer("more", {}).status().message(), "t:1: one only");
  EXPECT_EQ(chat.messages().size(), 2u);
}

TEST_F(ConversationTest, TheRepetitionPenaltySeesTheWholeConversation) {
  Conversation chat = conversation();
  GenerateOptions options{.max_tokens = 10, .sampler = {.repetition_penalty = 1.7f}};
  ask(chat, "hello", options);
  const Conversation::Answer second = ask(chat, "more", options);
  const auto other = model.session();
  EXPECT_EQ(second.result.ids, generate(*other, &tokenizer, second.prompt_ids, options)->ids);
}

TEST(SessionTruncate, LeavesNothingBehind) {
  const Model model;
  const auto session = model.session(), other = model.session();
  std::vector<int32_t> tokens;
  for (int i = 0; i < 150; ++i) tokens.push_back(i * 7 % example::kVocab);
  for (const int64_t keep : {149, 128, 100, 64, 63, 1, 0}) {
    session->reset(0);
    ASSERT_TRUE(session->prefill(0, tokens).ok());
    EXPECT_EQ(session->truncate(0, keep), keep);
    EXPECT_EQ(session->kvLen(0), keep);
    other->reset(0);
    const auto kept = std::span(tokens).first(static_cast<size_t>(keep));
    if (keep > 0) {
      ASSERT_TRUE(other->prefill(0, kept).ok());
    }
    ASSERT_TRUE(session->decode(0, 9).ok());
    ASSERT_TRUE(other->decode(0, 9).ok());
    const auto a = session->logits(), b = other->logits();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << keep;
  }
  EXPECT_EQ(session->truncate(0, 1000), 1);  // more than there are: all stay
  EXPECT_EQ(session->kvLen(0), 1);
}

// Configs name what ends a text; what ends a turn may be the tokenizer's alone.
TEST(ChatEosIds, AreTheConfigsAndTheTokenizers) {
  const auto ids = [](const std::vector<int32_t>& config) {
    const Model model([&](schema::PlanT& p) {
      p.generation = std::make_unique<schema::GenerationT>();
      p.generation->eos_token_ids = config;
    });
    return chatEosIds(*model.plan, *Tokenizer::create(model.plan->schema().tokenizer()), nullptr);
  };
  EXPECT_THAT(ids({7, 8}), ::testing::ElementsAre(7, 8, 1));
  EXPECT_THAT(ids({1, 7}), ::testing::ElementsAre(1, 7));
  EXPECT_THAT(ids({}), ::testing::ElementsAre(1));
}

// Configs may leave out what a chat's turns end in; templates write it.
TEST(ChatEosIds, HaveWhatTheTemplateWritesBehindAnAnswer) {
  auto table = testing::byteTable();
  for (const char* text : {"<s>", "<|end|>", "<|user|>", "<|call|>"})
    testing::addAdded(table, text, 1);
  table.bos_id = 256;
  const auto ids = [&](const std::string& chat_template) {
    const Model model([&](schema::PlanT& p) {
      p.tokenizer = std::make_unique<schema::TokenizerT>(table);
      p.generation = std::make_unique<schema::GenerationT>();
      p.generation->eos_token_ids = {7};
    });
    const Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
    const auto parsed = *jinja::Template::parse(chat_template, "t");
    return chatEosIds(*model.plan, tokenizer, &parsed);
  };
  const std::string begin = "{% for m in messages %}{{ m.role }}: ", end = "{% endfor %}";
  EXPECT_THAT(ids(begin + "{{ m.content }}<|end|>" + end), ::testing::ElementsAre(7, 257));
  EXPECT_THAT(ids(begin + "{{ m.content | trim }} \n<|end|>" + end),
              ::testing::ElementsAre(7, 257));
  EXPECT_THAT(ids("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}" + end),
              ::testing::ElementsAre(7, 258))
      << "there the user's turn begins";
  EXPECT_THAT(ids("{% for m in messages %}<s>{{ m.content }}" + end), ::testing::ElementsAre(7));
  EXPECT_THAT(ids(begin + "{{ m.content }}\n" + end), ::testing::ElementsAre(7));
  EXPECT_THAT(ids("{{ raise_exception('no') }}"), ::testing::ElementsAre(7));
  EXPECT_THAT(ids("no messages"), ::testing::ElementsAre(7));
  // gpt-oss says several messages in a turn.
  testing::addAdded(table, "<|return|>", 1);
  EXPECT_THAT(ids(begin + "{{ m.content }}<|end|>" + end), ::testing::ElementsAre(7));
}

TEST(RenderChat, GivesTemplatesWhatTransformersDoes) {
  const Model model;
  const Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
  const auto chat_template = jinja::Template::parse(
      "{{ messages }}{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ bos_token "
      "}}{{ eos_token }}",
      "t");
  const std::vector<ChatMessage> messages = {{"user", "é"}};
  EXPECT_EQ(*renderChat(*chat_template, messages, specialTokens(model.plan->schema(), &tokenizer)),
            "[{'role': 'user', 'content': 'é'}]NoneNoneTrue<s></s>");
  EXPECT_EQ(*renderChat(*chat_template, messages, {}),
            "[{'role': 'user', 'content': 'é'}]NoneNoneTrue");
  jinja::Document more;
  jinja::Dict variables;
  variables.set(*more.budget, "tools", jinja::Value::integer(1));
  variables.set(*more.budget, "bos_token", jinja::Value::string(*more.budget, "mine"));
  EXPECT_EQ(*renderChat(*chat_template, messages, specialTokens(model.plan->schema(), &tokenizer),
                        variables),
            "[{'role': 'user', 'content': 'é'}]1NoneTruemine</s>");
}

TEST(RenderChat, APlansTokensWinOverItsTokenizers) {
  schema::PlanT made;
  made.chat_template = "d";
  const auto add = [&made](const char* name, const char* text) {
    made.special_tokens.push_back(std::make_unique<schema::SpecialTokenT>());
    made.special_tokens.back()->name = name;
    made.special_tokens.back()->text = text;
  };
  add("pad_token", "<p>");
  add("additional_special_tokens", "<x>");
  add("additional_special_tokens", "<y>");
  add("sep_token", "\xff");
  made.chat_templates.push_back(std::make_unique<schema::NamedTemplateT>());
  made.chat_templates[0]->name = "tool_use";
  made.chat_templates[0]->text = "t";
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Plan::Pack(builder, &made));
  const auto& plan = *flatbuffers::GetRoot<schema::Plan>(builder.GetBufferPointer());
  const Model model;
  const Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
  const auto chat_template = jinja::Template::parse(
      "{{ pad_token }}{{ additional_special_tokens }}{{ bos_token is defined }}"
      "{{ sep_token is defined }}",
      "t");
  EXPECT_EQ(*renderChat(*chat_template, {}, specialTokens(plan, &tokenizer)),
            "<p>['<x>', '<y>']FalseFalse");
  EXPECT_EQ(*chatTemplates(plan).choose("", false), "d");
  EXPECT_EQ(*chatTemplates(plan).choose("", true), "t");
  const jinja::Document tools = *jinja::parseJsonValue(R"({"tools": []})", "c");
  const jinja::Document none = *jinja::parseJsonValue(R"({"tools": null})", "c");
  EXPECT_TRUE(hasTools(*tools.value.asDict()));
  EXPECT_FALSE(hasTools(*none.value.asDict()));
  EXPECT_FALSE(hasTools({}));
}

TEST(RenderChat, AnyAllocationMayFail) {
  const Model model;
  const Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
  const auto chat_template = jinja::Template::parse("{{ bos_token }}{{ messages }}{{ more }}", "t");
  const std::vector<ChatMessage> messages(5, {"user", "a message that no string holds within"});
  jinja::Document more;
  jinja::Dict variables;
  variables.set(*more.budget, "more", jinja::Value::integer(1));
  const auto text = [&] {
    return renderChat(*chat_template, messages, specialTokens(model.plan->schema(), &tokenizer),
                      variables);
  };
  const std::string whole = *text();
  // Of the messages, of the context that has them, and of the rendering.
  std::set<std::string> failures;
  bool failed = true;
  for (int64_t n = 0; failed; ++n) {
    jinja::failAllocationAfter(n);
    Result<std::string> rendered = std::string();
    try {
      rendered = text();
    } catch (const std::bad_alloc&) {
      // specialTokens() may throw.
    }
    failed = jinja::stopFailingAllocations();
    if (!rendered.ok()) {
      EXPECT_EQ(rendered.status().code(), StatusCode::kOutOfMemory);
      failures.insert(rendered.status().message());
    } else if (!failed) {
      EXPECT_EQ(*rendered, whole);
    }
  }
  EXPECT_THAT(failures,
              ::testing::UnorderedElementsAre("not enough memory for a chat's messages",
                                              "not enough memory for a chat template's variables",
                                              "t: not enough memory to render the chat template"));
}

}  // namespace
}  // namespace llmrt

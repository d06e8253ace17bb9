// What becomes of an answer's tokens in the next prompt, template by template.
#include "runtime/chat/prompt_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "runtime/chat/conversation.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using llmrt::testing::addAdded;
using llmrt::testing::addMerge;
using llmrt::testing::build;
using llmrt::testing::byteTable;
using llmrt::testing::sentencePieceTable;
using Ids = std::vector<int32_t>;

constexpr uint8_t kSpecial = 1;

// Llama 2 in small, with "ab" and " a" and the special tokens of several families.
schema::TokenizerT sentencePieces() {
  auto table = sentencePieceTable();
  addMerge(table, 257, 258, "ab");  // 262
  addMerge(table, 256, 257,
           "\u2581"
           "a");  // 263
  for (const char* text : {"<s>", "</s>", "<|im_start|>", "<|im_end|>"})
    addAdded(table, text, kSpecial);  // 264 to 267
  return table;
}

// Bytes, with "ab", " a", "\n\n" and the same special tokens.
schema::TokenizerT bytes() {
  auto table = byteTable();
  addMerge(table, 'a', 'b', "ab");
  addMerge(table, ' ', 'a', " a");
  addMerge(table, '\n', '\n', "\n\n");
  for (const char* text : {"<s>", "</s>", "<|im_start|>", "<|im_end|>"})
    addAdded(table, text, kSpecial);
  return table;
}

// What is written at the end of a template, and no expression, loses its newline.
constexpr char kChatMl[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}";
constexpr char kChatMlTrimmed[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor "
    "%}{{ '<|im_start|>assistant\n' }}";
constexpr char kLlama2[] =
    "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content.strip() }} [/INST]"
    "{% else %} {{ m.content.strip() }} </s>{% endif %}{% endfor %}";
constexpr char kVicuna[] =
    "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} {% else %}"
    "ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}ASSISTANT:";
constexpr char kPlain[] =
    "{% for m in messages %}### {{ m.role }}\n{{ m.content }}\n\n{% endfor %}{{ '### assistant\n' "
    "}}";
constexpr char kNoSpace[] =
    "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>";

// A conversation of which the model is whoever calls it.
struct Chat {
  explicit Chat(const schema::TokenizerT& table, const std::string& text)
      : tokenizer(build(table)), chat_template(*jinja::Template::parse(text, "t")) {}

  PromptTokens::Prompt ask(const std::string& text) {
    messages.push_back({"user", text});
    const auto rendered = renderChat(chat_template, messages, {});
    EXPECT_TRUE(rendered.ok()) << rendered.status().message();
    auto next = tokens.tokenize(*rendered);
    EXPECT_TRUE(next.ok()) << next.status().message();
    prompt = *std::move(next);
    return prompt;
  }
  void answer(const Ids& ids, std::string content = {}) {
    if (content.empty()) content = tokenizer.decode(ids);
    messages.push_back({"assistant", content});
    tokens.answered(prompt, ids, content);
  }
  Ids encode(const std::string& text) const {
    return *tokenizer.encode(text, {.add_bos = false, .parse_special = true});
  }

  Tokenizer tokenizer;
  jinja::Template chat_template;
  PromptTokens tokens{tokenizer};
  std::vector<ChatMessage> messages;
  PromptTokens::Prompt prompt;
};

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string withoutSpaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

// Whatever ids an answer has, they stay, and the prompt still says what the template rendered.
TEST(PromptTokens, AnswersKeepTheirTokensInEveryTemplate) {
  std::mt19937 random(5);
  for (const char* text : {kChatMl, kChatMlTrimmed, kLlama2, kVicuna, kPlain, kNoSpace}) {
    for (const bool bytes_alone : {false, true}) {
      // Bytes say the space that Vicuna's writes as well: there are two, another text.
      if (bytes_alone && text == kVicuna) continue;
      Chat chat(bytes_alone ? bytes() : sentencePieces(), text);
      // The first four have a letter or begin with one: templates strip spaces at the ends.
      const Ids words =
          bytes_alone ? Ids{'a', 'b', 'c', 256, 257, ' '} : Ids{257, 258, 259, 262, 263, 256};
      Ids kept;
      for (int turn = 0; turn < 30; ++turn) {
        const PromptTokens::Prompt prompt = chat.ask("ab a");
        SCOPED_TRACE(prompt.text);
        ASSERT_GT(prompt.ids.size(), kept.size());
        ASSERT_TRUE(std::equal(kept.begin(), kept.end(), prompt.ids.begin()));
        ASSERT_EQ(withoutSpaces(chat.tokenizer.decode(prompt.ids, false)),
                  withoutSpaces(prompt.text));
        Ids ids = {words[random() % 4]};
        for (size_t n = random() % 5; n > 0; --n) ids.push_back(words[random() % words.size()]);
        ids.push_back(words[random() % 3]);
        // Llama 2's writes the space before an answer that these vocabularies say themselves.
        const bool says_space = text == kLlama2 || text == kVicuna;
        if (says_space) ids[0] = bytes_alone ? 257 : 263;
        chat.answer(ids);
        kept = joined(prompt.ids, ids);
      }
    }
  }
}

// Llama 2's tokenizer writes a space before each text; the model wrote its own.
TEST(PromptTokens, NothingIsWrittenBetweenThePromptAndItsAnswer) {
  Chat chat(sentencePieces(), kNoSpace);
  const Ids first = chat.ask("b").ids;
  EXPECT_EQ(first, (Ids{266, 256, 258, 267, 266}));
  chat.answer({263, 258});
  EXPECT_EQ(chat.messages.back().content, "ab");
  EXPECT_EQ(chat.ask("c").ids, joined(first, {263, 258, 267, 266, 256, 259, 267, 266}));
}

TEST(PromptTokens, TokensThatATemplateStripsAreDropped) {
  Chat chat(bytes(), kChatMlTrimmed);
  const Ids first = chat.ask("b").ids;
  chat.answer({'a', 'b', ' ', 258});  // "ab \n\n"
  EXPECT_EQ(
      chat.ask("c").ids,
      joined(joined(first, {'a', 'b'}),
             chat.encode("<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n")));
  chat.answer({258, 'b', 'a'});
  const Ids second = chat.prompt.ids;
  EXPECT_EQ(
      chat.ask("c").ids,
      joined(joined(second, {'b', 'a'}),
             chat.encode("<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n")));
}

// What ended an answer is the template's to write, once.
TEST(PromptTokens, WhatEndsAnAnswerIsNotSaidTwice) {
  Chat chat(sentencePieces(), kNoSpace);
  const Ids first = chat.ask("b").ids;
  chat.answer({258, 258, 267}, "bb");
  EXPECT_EQ(chat.ask("c").ids, joined(first, {258, 258, 267, 266, 256, 259, 267, 266}));
  // A text that a stop string cut within a token.
  const Ids second = chat.prompt.ids;
  chat.answer({258, 262}, "ba");
  EXPECT_EQ(chat.ask("c").ids,
            joined(joined(first, {258, 258}),
                   chat.encode("<|im_end|><|im_start|>c<|im_end|><|im_start|>ba<|im_end|>"
                               "<|im_start|>c<|im_end|><|im_start|>")));
}

// As Command R's does, whose models say them.
TEST(PromptTokens, SpecialTokensAroundAnAnswerMayBeTheTemplatesAndTheModels) {
  constexpr char kMarked[] =
      "{% for m in messages %}<|im_start|>{% if m.role == 'assistant' %}<s>{{ m.content }}</s>{% "
      "else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}<|im_start|>";
  Chat chat(bytes(), kMarked);
  const Ids first = chat.ask("b").ids;
  chat.answer({259, 'a', 'b', 260});
  EXPECT_EQ(chat.messages.back().content, "ab");
  EXPECT_EQ(chat.ask("c").ids,
            joined(joined(first, {259, 'a', 'b', 260}),
                   chat.encode("<|im_end|><|im_start|>c<|im_end|><|im_start|>")));
}

// As templates do that drop earlier reasoning; answers before it keep their tokens.
TEST(PromptTokens, ARewrittenAnswerIsTokenizedAsText) {
  constexpr char kReasoning[] =
      "{% for m in messages %}<|im_start|>{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor "
      "%}<|im_start|>";
  Chat chat(bytes(), kReasoning);
  const Ids first = chat.ask("b").ids;
  chat.answer({'a', 'b'});  // not 256
  const Ids second = chat.ask("c").ids;
  EXPECT_EQ(second, joined(joined(first, {'a', 'b'}),
                           chat.encode("<|im_end|><|im_start|>c<|im_end|><|im_start|>")));
  chat.answer(joined(chat.encode("<think>a</think>"), {'a', 'b'}));
  const Ids third = chat.ask("d").ids;
  EXPECT_EQ(third, joined(second, chat.encode("ab<|im_end|><|im_start|>d<|im_end|><|im_start|>")));
  // From then on it is known as that.
  chat.answer({'a', 'b'});
  EXPECT_EQ(chat.ask("e").ids,
            joined(joined(third, {'a', 'b'}),
                   chat.encode("<|im_end|><|im_start|>e<|im_end|><|im_start|>")));
}

// A template that writes reasoning's beginning into the prompt, and leaves it out of the past.
TEST(PromptTokens, APromptThatIsNotInThePastIsTokenizedAnew) {
  constexpr char kOpened[] =
      "{% for m in messages %}<|im_start|>{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor "
      "%}<|im_start|><think>";
  Chat chat(bytes(), kOpened);
  chat.ask("b");
  chat.answer(chat.encode("c</think>ab"));
  chat.ask("d");
  EXPECT_EQ(chat.prompt.ids, chat.encode(chat.prompt.text));
  EXPECT_EQ(chat.prompt.text,
            "<|im_start|>b<|im_end|><|im_start|>ab<|im_end|><|im_start|>d<|im_end|><|im_start|>"
            "<think>");
}

TEST(PromptTokens, OtherMessagesAreOtherTokens) {
  Chat chat(bytes(), kChatMl);
  chat.ask("b");
  chat.answer({'a', 'b'});
  chat.messages.clear();
  chat.ask("ab");
  EXPECT_EQ(chat.prompt.ids, chat.encode(chat.prompt.text));
}

}  // namespace
}  // namespace llmrt

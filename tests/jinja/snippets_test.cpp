// Every part of the language on its own: what Jinja2 makes of small templates, kept in
// tests/golden/jinja/snippets.json.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/jinja/json_text.h"
#include "runtime/jinja/template.h"
#include "tests/jinja/golden_options.h"

namespace llmrt::jinja {
namespace {

TEST(Snippets, RenderAsJinja2) {
  const auto golden = nlohmann::ordered_json::parse(readFile(JINJA_GOLDENS));
  const Result<Document> context = parseJsonValue(golden["context"].get<std::string>(), "context");
  ASSERT_TRUE(context.ok()) << context.status().message();
  ASSERT_GT(golden["snippets"].size(), 700u);
  for (const auto& snippet : golden["snippets"]) {
    const std::string source = snippet["template"];
    SCOPED_TRACE(source);
    const Result<Template> parsed = Template::parse(source, "t");
    const Result<std::string> text =
        parsed.ok() ? parsed->render(context->value, goldenOptions()) : parsed.status();
    if (snippet.contains("error")) {
      EXPECT_FALSE(text.ok()) << "is " << *text << "\nshould fail: " << snippet["error"];
    } else if (text.ok()) {
      EXPECT_EQ(*text, snippet["text"].get<std::string>());
    } else {
      ADD_FAILURE() << text.status().message() << "\nshould be: " << snippet["text"];
    }
  }
}

}  // namespace
}  // namespace llmrt::jinja

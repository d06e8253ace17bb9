// Operands that today's models do not use, on CPUs; and inputs that nobody fills in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/operand_cases.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;

class Operands : public testing::TestWithParam<example::OperandCase> {};

TEST_P(Operands, AreAddedWithoutAnyOtherChange) {
  const Model model(GetParam().change);
  ASSERT_NE(model.plan, nullptr);
  for (const int threads : {1, 3}) {
    SessionOptions options{.threads = threads, .max_batch = 3};
    options.inputs = GetParam().inputs;
    const auto session = model.session(options);
    ASSERT_NE(session, nullptr);
    GetParam().run(model, *session);
  }
}

INSTANTIATE_TEST_SUITE_P(, Operands, testing::ValuesIn(example::operandCases()),
                         [](const auto& info) { return info.param.name; });

std::string createMessage(const Model& model, std::vector<CallersInput> inputs = {}) {
  SessionOptions options{.threads = 1};
  options.inputs = std::move(inputs);
  const auto session = Session::create(*model.plan, *model.weights, options);
  return session.ok() ? "" : session.status().message();
}

TEST(Inputs, ThatNobodyFillsInAreRefusedByName) {
  const Model unknown([](schema::PlanT& p) {
    p.entry_points[1]->inputs.push_back(example::input("mood", schema::Axis::row));
  });
  EXPECT_THAT(createMessage(unknown),
              HasSubstr("plan.fb: entry point prefill asks for the input 'mood', which this "
                        "runtime does not know"));
  EXPECT_EQ(createMessage(unknown, {{"mood", DType::kI32, schema::Axis::row}}), "");
}

TEST(Inputs, OfAnotherTypeAreRefusedByName) {
  const auto changed = [](const std::function<void(schema::InputT&)>& change) {
    return Model([&](schema::PlanT& p) {
      for (auto& entry : p.entry_points) change(*entry->inputs[1]);
    });
  };
  EXPECT_THAT(createMessage(changed([](auto& i) { i.dtype = schema::DType::f32; })),
              HasSubstr("entry point decode asks for the input 'pos' as 1 x f32 by row, it is 1 x "
                        "i32 by row"));
  EXPECT_THAT(createMessage(changed([](auto& i) { i.width = 3; })),
              HasSubstr("'pos' as 3 x i32 by row, it is 1 x"));
  EXPECT_THAT(createMessage(changed([](auto& i) { i.axis = schema::Axis::sequence; })),
              HasSubstr("'pos' as 1 x i32 by sequence, it is 1 x i32 by row"));
  // What the user gives is held against the plan as well.
  EXPECT_THAT(createMessage(Model(), {{"pos", DType::kI32, schema::Axis::row, 3}}),
              HasSubstr("'pos' as 1 x i32 by row, it is 3 x i32 by row"));
}

TEST(Inputs, AreSetAsTheyWereAnnounced) {
  const Model model([](schema::PlanT& p) {
    p.entry_points[0]->inputs.push_back(
        example::input("bias", schema::Axis::step, schema::DType::f32, 2));
  });
  SessionOptions options{.threads = 1};
  options.inputs = {{"bias", DType::kF32, schema::Axis::step, 2}};
  const auto session = model.session(options);
  const std::vector<float> three(3), two(2);
  EXPECT_THAT(session->decode(0, 1).message(),
              HasSubstr("input 'bias' of entry point decode has values for 0, the step has 1"));
  EXPECT_THAT(session->setInput("bias", std::as_bytes(std::span(three))).message(),
              HasSubstr("input 'bias': 12 bytes are not 0 to 1 elements of 8 bytes"));
  const std::vector<float> four(4);
  EXPECT_THAT(session->setInput("bias", std::as_bytes(std::span(four))).message(),
              HasSubstr("input 'bias': 16 bytes are not 0 to 1 elements of 8 bytes"));
  EXPECT_THAT(session->setInput("pos", std::as_bytes(std::span(two))).message(),
              HasSubstr("no entry point of the plan has an input 'pos' that is the session's"));
  EXPECT_TRUE(session->setInput("bias", std::as_bytes(std::span(two))).ok());
  EXPECT_TRUE(session->decode(0, 1).ok());
  EXPECT_EQ(session->kvLen(0), 1);
}

TEST(Inputs, OfKindsThatASessionDoesNotRun) {
  const Model model;
  const auto session = model.session();
  const StepToken token{0, 1, true};
  EXPECT_THAT(session->step({&token, 1}, schema::StepKind::verify).message(),
              HasSubstr("a session runs no steps of kind verify"));
  EXPECT_FALSE(session->step({&token, 1}, schema::StepKind::embed).ok());
  EXPECT_TRUE(session->step({&token, 1}, schema::StepKind::decode).ok());
}

}  // namespace
}  // namespace llmrt

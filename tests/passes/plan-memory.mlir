// RUN: llmc-opt %s --llm-pack-weights --llm-schedule --llm-plan-memory --verify-diagnostics | FileCheck %s

// @add_2 is made from @add while @rms_norm and the stream are still to be read, so all four have bytes of their own. The
// logits come when all but the stream are dead.
// CHECK:      llm.schedule @decode decode max_rows 4 max_logits_rows 4 arena_bytes 4096
// CHECK-NEXT: llm.buffer @residual offset 2048
// CHECK-NEXT: llm.buffer @rms_norm offset 0
// CHECK-NEXT: llm.buffer @add offset 1024
// CHECK-NEXT: llm.buffer @add_2 offset 3072
// CHECK-NEXT: llm.buffer @logits offset 0
llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  // expected-remark@+1 {{memory plan of @decode: 4096 bytes for 5 buffers of 6144 bytes}}
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %n = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x64xf32>
      %r = llm.add %h, %n : tensor<?x64xf32>
      %r2 = llm.add %r, %n : tensor<?x64xf32>
      %z = llm.add %r2, %n : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

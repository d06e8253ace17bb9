// The ops and attributes that llama does without: printed, parsed and printed again, in the generic form too.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-opt %s --mlir-print-op-generic | llmc-opt | FileCheck %s

llm.model @m architecture "gemma2" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8
    num_layers 3 vocab_size 50 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @positions matrix "positions" : tensor<64x32xbf16>
  // CHECK: llm.weight @norm norm "{layer}.norm" plus 1.000000e+00 : tensor<3x32xbf16>
  llm.weight @norm norm "{layer}.norm" plus 1.0 : tensor<3x32xbf16>
  llm.weight @norm_bias bias "{layer}.norm_bias" : tensor<3x32xbf16>
  llm.weight @head_norm norm "{layer}.q_norm" : tensor<3x8xbf16>
  llm.weight @number norm "{layer}.number" : tensor<3x1xbf16>
  llm.weight @expert_scale norm "{layer}.expert_scale" : tensor<3x6xbf16>
  llm.weight @per_layer matrix "per_layer" : tensor<50x24xbf16>
  llm.weight @sinks bias "{layer}.sinks" : tensor<3x4xbf16>
  // CHECK: llm.weight @q_proj matrix "{layer}.qkv" view <stored[64, 32] begin 0 run 8 outer 256 inner 32 col 1 pairs 4> : tensor<3x32x32xbf16>
  llm.weight @q_proj matrix "{layer}.qkv" view <stored[64, 32] begin 0 run 8 outer 256 inner 32 col 1 pairs 4> : tensor<3x32x32xbf16>
  // CHECK: llm.weight @k_proj matrix "{layer}.qkv" view <stored[64, 32] begin 1024 run 16 outer 0 inner 32 col 1> : tensor<3x16x32xbf16>
  llm.weight @k_proj matrix "{layer}.qkv" view <stored[64, 32] begin 1024 run 16 outer 0 inner 32 col 1> : tensor<3x16x32xbf16>
  llm.weight @v_proj matrix "{layer}.v" : tensor<3x16x32xbf16>
  llm.weight @o_proj matrix "{layer}.o" : tensor<3x32x32xbf16>
  llm.weight @up_proj matrix "{layer}.up" : tensor<3x48x32xbf16>
  llm.weight @up_proj_bias bias "{layer}.up_bias" : tensor<3x48xbf16>
  llm.weight @router matrix "{layer}.router" : tensor<3x6x32xbf16>
  llm.weight @router_bias bias "{layer}.router_bias" : tensor<3x6xbf16>
  // CHECK: llm.weight @expert_gate matrix "{layer}.experts.{expert}.gate" experts 6 : tensor<3x6x24x32xbf16>
  llm.weight @expert_gate matrix "{layer}.experts.{expert}.gate" experts 6 : tensor<3x6x24x32xbf16>
  // CHECK: llm.weight @expert_up matrix "{layer}.experts" experts 6 view <stored[6, 32, 24] begin 0 run 24 outer 0 inner 1 col 24 expert 768> : tensor<3x6x24x32xbf16>
  llm.weight @expert_up matrix "{layer}.experts" experts 6 view <stored[6, 32, 24] begin 0 run 24 outer 0 inner 1 col 24 expert 768> : tensor<3x6x24x32xbf16>
  llm.weight @expert_gate_bias bias "{layer}.experts.{expert}.gb" experts 6 : tensor<3x6x24xbf16>
  llm.weight @expert_down matrix "{layer}.experts.{expert}.down" experts 6 : tensor<3x6x32x24xbf16>
  llm.weight @expert_down_bias bias "{layer}.experts.{expert}.db" experts 6 : tensor<3x6x32xbf16>
  llm.weight @k_up matrix "{layer}.k_up" : tensor<3x40x8xbf16>
  llm.weight @last norm "norm" : tensor<32xbf16>
  llm.weight @last_bias bias "norm_bias" : tensor<32xbf16>
  llm.weight @lm_head matrix "head" : tensor<50x32xbf16>
  llm.weight @lm_head_bias bias "head_bias" : tensor<50xbf16>
  // CHECK: llm.rope_table @rope scale 1.250000e+00 [1.000000e+00, 5.000000e-01] above 32 [1.000000e+00, 2.500000e-01]
  llm.rope_table @rope scale 1.25 [1.0, 0.5] above 32 [1.0, 0.25]
  llm.state @kv_window16 : !llm.kv<2x8xf16> window 16 layers 0:3
  llm.state @kv : !llm.kv<2x8xf16> layers 0:3

  // CHECK-LABEL: llm.entry @primitive
  llm.entry @primitive(%rows: !llm.rows) decode max_rows 8 {
    // CHECK: llm.embed %rows, @embed_tokens positions @positions scale 5.500000e+00 : tensor<?x32xf32>
    %x = llm.embed %rows, @embed_tokens positions @positions scale 5.5 : tensor<?x32xf32>
    %pl = llm.embed %rows, @per_layer : tensor<?x24xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x32xf32> {
      // CHECK: %norm = llm.layer_norm %h weight @norm bias @norm_bias eps 1.000000e-05 : tensor<?x32xf32>
      %n = llm.layer_norm %h weight @norm bias @norm_bias eps 1.0e-5 : tensor<?x32xf32>
      // CHECK: llm.layer_norm %h eps 1.000000e-05 : tensor<?x32xf32>
      %n2 = llm.layer_norm %h eps 1.0e-5 : tensor<?x32xf32>
      // CHECK: llm.qk_norm %norm, @head_norm eps 1.000000e-05 head_dim 8 : tensor<?x32xf32>
      %q = llm.qk_norm %n, @head_norm eps 1.0e-5 head_dim 8 : tensor<?x32xf32>
      // CHECK: llm.qk_norm %{{.*}}, @norm layer eps 1.000000e-05 head_dim 8 : tensor<?x32xf32>
      %q2 = llm.qk_norm %q, @norm layer eps 1.0e-5 head_dim 8 : tensor<?x32xf32>
      // CHECK: llm.qk_norm %{{.*}} eps 1.000000e-05 head_dim 8 : tensor<?x32xf32>
      %q4 = llm.qk_norm %q eps 1.0e-5 head_dim 8 : tensor<?x32xf32>
      // CHECK: llm.scale_by %{{.*}}, @number : tensor<?x32xf32>
      %q5 = llm.scale_by %q4, @number : tensor<?x32xf32>
      // CHECK: %layer_slice = llm.layer_slice %{{.*}} : tensor<?x24xf32> -> tensor<?x8xf32>
      %ls = llm.layer_slice %pl : tensor<?x24xf32> -> tensor<?x8xf32>
      // CHECK: llm.rope %{{.*}}, %rows, @rope head_dim 8 : tensor<?x32xf32>
      %q3 = llm.rope %q2, %rows, @rope head_dim 8 : tensor<?x32xf32>
      // CHECK: llm.attention %{{.*}}, %rows, @kv_window16 scale 2.500000e-01 softcap 5.000000e+01 sinks @sinks : tensor<?x32xf32> -> tensor<?x32xf32>
      %a = llm.attention %q3, %rows, @kv_window16 scale 0.25 softcap 50.0 sinks @sinks : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: %scale = llm.scale %attention by 5.000000e-01 : tensor<?x32xf32>
      %s = llm.scale %a by 0.5 : tensor<?x32xf32>
      // CHECK: llm.concat %scale, %norm heads 4 : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x64xf32>
      %c = llm.concat %s, %n heads 4 : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x64xf32>
      // CHECK: %k_up = llm.head_linear %{{.*}}, @k_up heads 4 : tensor<?x32xf32> -> tensor<?x40xf32>
      %hl = llm.head_linear %s, @k_up heads 4 : tensor<?x32xf32> -> tensor<?x40xf32>
      %l = llm.linear %n, @router : tensor<?x32xf32> -> tensor<?x6xf32>
      // CHECK: %route = llm.route %router top_k 2 softmax : tensor<?x6xf32> -> tensor<?x4xf32>
      %r = llm.route %l top_k 2 softmax : tensor<?x6xf32> -> tensor<?x4xf32>
      // CHECK: llm.route %router top_k 2 sigmoid normalize scale 2.500000e+00 bias @router_bias groups 3 keep 2 top 2 : tensor<?x6xf32> -> tensor<?x4xf32>
      %r2 = llm.route %l top_k 2 sigmoid normalize scale 2.5 bias @router_bias groups 3 keep 2 top 2 : tensor<?x6xf32> -> tensor<?x4xf32>
      // CHECK: llm.route %router top_k 2 softmax normalize expert_scale @expert_scale : tensor<?x6xf32> -> tensor<?x4xf32>
      %r3 = llm.route %l top_k 2 softmax normalize expert_scale @expert_scale : tensor<?x6xf32> -> tensor<?x4xf32>
      // CHECK: llm.expert_glu %norm, %route proj @expert_gate, @expert_up bias @expert_gate_bias, @expert_gate_bias quick_gelu limit 7.000000e+00 : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x48xf32>
      %g = llm.expert_glu %n, %r proj @expert_gate, @expert_up bias @expert_gate_bias, @expert_gate_bias quick_gelu limit 7.0 : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x48xf32>
      // CHECK: llm.expert_glu %norm, %route proj @expert_gate bias @expert_gate_bias relu2 : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x48xf32>
      %g1 = llm.expert_glu %n, %r proj @expert_gate bias @expert_gate_bias relu2 : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x48xf32>
      // CHECK: llm.expert_glu %norm, %route proj @expert_gate, @expert_up silu : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x48xf32>
      %g2 = llm.expert_glu %n, %r proj @expert_gate, @expert_up silu : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x48xf32>
      // CHECK: llm.expert_down %{{.*}}, %route, @expert_down bias @expert_down_bias : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      %d = llm.expert_down %g, %r, @expert_down bias @expert_down_bias : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      llm.yield %d : tensor<?x32xf32>
    }
    // CHECK: llm.logits %{{.*}}, %rows, @lm_head bias @lm_head_bias scale 6.250000e-02 softcap 3.000000e+01 : tensor<?x32xf32> -> tensor<?x50xf32>
    %z = llm.logits %y, %rows, @lm_head bias @lm_head_bias scale 0.0625 softcap 30.0 : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %z : tensor<?x50xf32>
  }

  // CHECK-LABEL: llm.entry @fused
  llm.entry @fused(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 3 : tensor<?x32xf32> {
      // CHECK: %q = llm.norm_qkv %h, %rows, @kv norm @norm shift @norm_bias layer eps 1.000000e-05 proj @q_proj, @k_proj, @v_proj qk_norm @head_norm, @head_norm eps 1.000000e-05 rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
      %q = llm.norm_qkv %h, %rows, @kv norm @norm shift @norm_bias layer eps 1.0e-5 proj @q_proj, @k_proj, @v_proj qk_norm @head_norm, @head_norm eps 1.0e-5 rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: llm.norm_qkv %h, %rows, @kv norm @norm eps 1.000000e-05 proj @q_proj, @k_proj qk_norm @head_norm, @head_norm eps 1.000000e-05 v_norm : tensor<?x32xf32> -> tensor<?x32xf32>
      %q2 = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @q_proj, @k_proj qk_norm @head_norm, @head_norm eps 1.0e-5 v_norm : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: llm.norm_qkv %h, %rows, @kv norm @norm eps 1.000000e-05 proj @q_proj qk_norm @head_norm eps 1.000000e-05 rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
      %q3 = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @q_proj qk_norm @head_norm eps 1.0e-5 rope @rope : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: llm.linear_residual %q, %h, @o_proj scale 2.500000e-01 : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = llm.linear_residual %q, %h, @o_proj scale 0.25 : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: llm.norm_residual %q, %o norm @norm eps 1.000000e-05 : tensor<?x32xf32>
      %s = llm.norm_residual %q, %r norm @norm eps 1.0e-5 : tensor<?x32xf32>
      // CHECK: llm.norm_residual %q, %o norm @norm eps 1.000000e-05 scale @number : tensor<?x32xf32>
      %s2 = llm.norm_residual %q, %r norm @norm eps 1.0e-5 scale @number : tensor<?x32xf32>
      // CHECK: llm.norm_linear %{{.*}} norm @norm layer eps 1.000000e-05 proj @up_proj bias @up_proj_bias relu2 : tensor<?x32xf32> -> tensor<?x48xf32>
      %u = llm.norm_linear %s norm @norm layer eps 1.0e-5 proj @up_proj bias @up_proj_bias relu2 : tensor<?x32xf32> -> tensor<?x48xf32>
      // CHECK: llm.norm_linear %{{.*}} norm @norm eps 1.000000e-05 proj @up_proj sigmoid times %up : tensor<?x32xf32>, tensor<?x48xf32> -> tensor<?x48xf32>
      %u2 = llm.norm_linear %s norm @norm eps 1.0e-5 proj @up_proj sigmoid times %u : tensor<?x32xf32>, tensor<?x48xf32> -> tensor<?x48xf32>
      // CHECK: %up_proj, %k_proj = llm.norm_projections %{{.*}} norm @norm layer eps 1.000000e-05 proj [#llm.projection<@up_proj bias @up_proj_bias act silu>, #llm.projection<@k_proj>] : tensor<?x32xf32> -> tensor<?x48xf32>, tensor<?x16xf32>
      %p:2 = llm.norm_projections %s norm @norm layer eps 1.0e-5 proj [#llm.projection<@up_proj bias @up_proj_bias act silu>, #llm.projection<@k_proj>] : tensor<?x32xf32> -> tensor<?x48xf32>, tensor<?x16xf32>
      // CHECK: llm.scale_by_pos %q, %rows growth 1.000000e-01 every 16384 : tensor<?x32xf32>
      %sp = llm.scale_by_pos %q, %rows growth 0.1 every 16384 : tensor<?x32xf32>
      // CHECK: llm.norm_glu %{{.*}} norm @norm shift @norm_bias layer eps 1.000000e-05 proj @up_proj, @up_proj silu : tensor<?x32xf32> -> tensor<?x48xf32>
      %g = llm.norm_glu %s norm @norm shift @norm_bias layer eps 1.0e-5 proj @up_proj, @up_proj silu : tensor<?x32xf32> -> tensor<?x48xf32>
      llm.yield %s : tensor<?x32xf32>
    }
    // CHECK: llm.norm_logits %y, %rows norm @last shift @last_bias layer eps 1.000000e-05, @lm_head bias @lm_head_bias scale 5.000000e-01 softcap 3.000000e+01 : tensor<?x32xf32> -> tensor<?x50xf32>
    %z = llm.norm_logits %y, %rows norm @last shift @last_bias layer eps 1.0e-5, @lm_head bias @lm_head_bias scale 0.5 softcap 30.0 : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %z : tensor<?x50xf32>
  }
}

// A cache whose values are narrower than its keys: the types of values and results follow from it.
// CHECK-LABEL: llm.model @latent
llm.model @latent architecture "deepseek_v3" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 1 head_dim 12
    num_layers 1 vocab_size 50 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @kv_a matrix "kv_a" : tensor<12x32xbf16>
  llm.weight @v matrix "v" : tensor<8x32xbf16>
  llm.weight @q matrix "q" : tensor<48x32xbf16>
  llm.weight @scale matrix "g" : tensor<1x32xbf16>
  // CHECK: llm.state @latent : !llm.kv<1x12x8xbf16> layers 0:1
  llm.state @latent : !llm.kv<1x12x8xbf16> layers 0:1
  // CHECK: llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x32xf32> {
      %k = llm.linear %h, @kv_a : tensor<?x32xf32> -> tensor<?x12xf32>
      %v = llm.linear %h, @v : tensor<?x32xf32> -> tensor<?x8xf32>
      // CHECK: llm.kv_write %{{.*}}, %{{.*}}, %rows, @latent : tensor<?x12xf32>, tensor<?x8xf32>
      llm.kv_write %k, %v, %rows, @latent : tensor<?x12xf32>, tensor<?x8xf32>
      %q = llm.linear %h, @q : tensor<?x32xf32> -> tensor<?x48xf32>
      // CHECK: llm.attention %{{.*}}, %rows, @latent scale 2.500000e-01 : tensor<?x48xf32> -> tensor<?x32xf32>
      %a = llm.attention %q, %rows, @latent scale 0.25 : tensor<?x48xf32> -> tensor<?x32xf32>
      %g = llm.linear %h, @scale : tensor<?x32xf32> -> tensor<?x1xf32>
      // CHECK: llm.scale_rows %attention, %attention : tensor<?x32xf32>, tensor<?x32xf32>
      %sh = llm.scale_rows %a, %a : tensor<?x32xf32>, tensor<?x32xf32>
      // CHECK: llm.scale_rows %attention, %{{.*}} : tensor<?x32xf32>, tensor<?x1xf32>
      %s = llm.scale_rows %a, %g : tensor<?x32xf32>, tensor<?x1xf32>
      llm.yield %s : tensor<?x32xf32>
    }
    %z = llm.logits %y, %rows, @embed_tokens : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %z : tensor<?x50xf32>
  }
}

// A layer without keys and values of its own reads those of the last layer before it that has some.
// CHECK-LABEL: llm.model @shared
llm.model @shared architecture "gemma4_text" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8
    num_layers 3 vocab_size 50 max_seq_len 64 max_batch 1 {
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @norm norm "{layer}.norm" : tensor<3x32xbf16>
  llm.weight @q_proj matrix "{layer}.q" : tensor<3x32x32xbf16>
  llm.weight @k_proj matrix "{layer}.k" : tensor<1x16x32xbf16>
  // CHECK: llm.state @kv : !llm.kv<2x8xbf16> layers 0:1
  llm.state @kv : !llm.kv<2x8xbf16> layers 0:1
  llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x32xf32> {
      %q = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @q_proj, @k_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 1.0 : tensor<?x32xf32> -> tensor<?x32xf32>
      llm.yield %a : tensor<?x32xf32>
    }
    %z = llm.layers %h = %y first 1 count 2 : tensor<?x32xf32> {
      // CHECK: llm.norm_qkv %h, %rows, @kv norm @norm eps 1.000000e-05 proj @q_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      %q = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @q_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      // CHECK: llm.attention %q, %rows, @kv scale 1.000000e+00 : tensor<?x32xf32> -> tensor<?x32xf32>
      %a = llm.attention %q, %rows, @kv scale 1.0 : tensor<?x32xf32> -> tensor<?x32xf32>
      llm.yield %a : tensor<?x32xf32>
    }
    %l = llm.logits %z, %rows, @embed_tokens : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
}

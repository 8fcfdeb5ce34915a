// What distinguishes one model architecture from another, as data: a short declaration a family.
// This room holds no computation and reads no file; the decoder pass (Forward) and the loader interpret it.
// Start with Families (the list) and any one declaration, such as Qwen3.

/// A model architecture: decoder blocks of RMS norm, grouped-query attention with rotary positions, RMS norm and a gated
/// MLP. The fields say what a family does differently; the defaults are those of the plainest one.
package struct ModelFamily: Sendable {
  /// What people call it, for tables and messages.
  package var name: String
  /// `model_type` of config.json, used where `architectures` is absent.
  package var modelType: String
  /// Entries of `architectures` in config.json that mean this family.
  package var architectures: [String]
  /// One line for the table of supported models.
  package var notes: String
  /// Published models of this family, for the same table.
  package var examples: [String]

  /// An RMS norm over each head's query and key, before rotation.
  package var queryKeyNorm = false
  package var attentionBias = BiasRule.none
  package var mlpBias = BiasRule.none
  package var window = WindowRule.none
  package var defaults = Defaults()
  package var names = TensorNames()

  package init(name: String, modelType: String, architectures: [String], notes: String, examples: [String]) {
    self.name = name
    self.modelType = modelType
    self.architectures = architectures
    self.notes = notes
    self.examples = examples
  }

  /// Which linear layers of a part carry a bias.
  package enum BiasRule: Sendable, Hashable {
    case none
    /// On query, key and value, not on the output.
    case queryKeyValue
    /// On every layer of the part where this boolean of config.json says so.
    case configured(String)
  }

  /// Which layers look back over a limited number of tokens only.
  package enum WindowRule: Sendable, Hashable {
    case none
    /// `sliding_window` on every layer; null turns it off.
    case everyLayer
    /// `sliding_window` where `use_sliding_window` is true, on the layers that `layer_types` names or else on those from
    /// `max_window_layers` on.
    case upperLayers
  }

  /// What the reference implementation assumes where config.json leaves a member out.
  package struct Defaults: Sendable, Hashable {
    package var contextTokens = 2048
    package var normEpsilon = 1e-6
    package var ropeTheta = 10_000.0
    /// nil = hidden size ÷ heads.
    package var headDim: Int?
    /// nil = as many as heads.
    package var keyValueHeads: Int?
    package var slidingWindow: Int?
    package var maxWindowLayers = 28
  }
}

/// The names of a family's tensors in a checkpoint. Linear layers have `.weight` [outputs, inputs] and, where declared,
/// `.bias` [outputs].
package struct TensorNames: Sendable, Hashable {
  package var embedding = "model.embed_tokens.weight"
  package var finalNorm = "model.norm.weight"
  package var head = "lm_head.weight"
  /// Followed by the layer's number and a dot.
  package var layerPrefix = "model.layers."
  package var inputNorm = "input_layernorm.weight"
  package var query = "self_attn.q_proj"
  package var key = "self_attn.k_proj"
  package var value = "self_attn.v_proj"
  package var queryNorm = "self_attn.q_norm.weight"
  package var keyNorm = "self_attn.k_norm.weight"
  package var output = "self_attn.o_proj"
  package var postNorm = "post_attention_layernorm.weight"
  package var gate = "mlp.gate_proj"
  package var up = "mlp.up_proj"
  package var down = "mlp.down_proj"
  /// Ends of names that published checkpoints carry and nobody needs: values that are computed.
  package var ignoredSuffixes = [".rotary_emb.inv_freq", ".masked_bias"]

  package func layer(_ index: Int, _ part: String) -> String { "\(layerPrefix)\(index).\(part)" }
}

package import SwerveCore

/// A way to place a model: which roles there are, and on how many devices.
package enum Placement: Sendable, Hashable {
  /// One device does everything.
  case unified
  /// Each of n devices has 1/n of all layers, and the KV of its heads.
  case tensor(Int)
  /// Each of n devices has a run of layers, and their KV.
  case pipeline(Int)
  /// One device has the parameters, k have keys and values.
  case separated(dataWorkers: Int)
  /// Weights are fetched layer by layer from the disk, or from host memory.
  case gathered(GatherConfiguration.Source, depth: Int)
  /// p devices compute prompts and hand their KV to d that decode.
  case disaggregated(prefill: Int, decode: Int)

  /// As `--placement` names it.
  package var name: String {
    switch self {
    case .unified: "unified"
    case .tensor: "tensor"
    case .pipeline: "pipeline"
    case .separated: "separated"
    case .gathered: "gathered"
    case .disaggregated: "disaggregated"
    }
  }

  /// Short, with its numbers.
  package var title: String {
    switch self {
    case .unified: "unified"
    case .tensor(let count): "tensor \(count)"
    case .pipeline(let count): "pipeline \(count)"
    case .separated(let count): "separated 1+\(count)"
    case .gathered(let source, let depth): "gathered \(source.rawValue), depth \(depth)"
    case .disaggregated(let prefill, let decode): "disaggregated \(prefill)+\(decode)"
    }
  }

  /// The flags that ask for it, in order.
  package var flags: [(name: String, value: String)] {
    switch self {
    case .unified: [("placement", "unified")]
    case .tensor(let count): [("placement", "tensor"), ("tensor-parallel-size", "\(count)")]
    case .pipeline(let count): [("placement", "pipeline"), ("pipeline-parallel-size", "\(count)")]
    case .separated(let count): [("placement", "separated"), ("data-workers", "\(count)")]
    case .gathered(let source, let depth):
      [("placement", "gathered"), ("gather-source", source.rawValue), ("gather-depth", "\(depth)")]
    case .disaggregated: [("placement", "disaggregated")]
    }
  }

  /// The placement that such flags ask for; nil where they do not fit together. Flags that are not given have their
  /// defaults.
  package init?(flags: [(name: String, value: String)]) {
    func text(_ name: String) -> String? { flags.last { $0.name == name }?.value }
    func number(_ name: String, _ otherwise: Int) -> Int? {
      guard let text = text(name) else { return otherwise }
      return Int(text).flatMap { (1...10_000).contains($0) ? $0 : nil }
    }
    switch text("placement") {
    case "unified": self = .unified
    case "tensor":
      guard let count = number("tensor-parallel-size", 2) else { return nil }
      self = .tensor(count)
    case "pipeline":
      guard let count = number("pipeline-parallel-size", 2) else { return nil }
      self = .pipeline(count)
    case "separated":
      guard let count = number("data-workers", 1) else { return nil }
      self = .separated(dataWorkers: count)
    case "gathered":
      guard let depth = number("gather-depth", 2),
        let source = GatherConfiguration.Source(rawValue: text("gather-source") ?? "nvme")
      else { return nil }
      self = .gathered(source, depth: depth)
    case "disaggregated": self = .disaggregated(prefill: 1, decode: 1)
    default: return nil
    }
  }

  /// Devices it needs; one device may be cut into as many.
  package var deviceCount: Int {
    switch self {
    case .unified, .gathered: 1
    case .tensor(let count), .pipeline(let count): count
    case .separated(let count): 1 + count
    case .disaggregated(let prefill, let decode): prefill + decode
    }
  }
}

/// What a placement is predicted to do under a load.
package struct Estimate: Sendable, Hashable {
  package var placement: Placement
  /// Why it cannot run at all; nil = it can.
  package var refusal: String?
  /// Seconds of a step that decodes one token of each running sequence.
  package var decodeSeconds = 0.0
  /// Seconds of a step that computes a chunk of a prompt.
  package var prefillSeconds = 0.0
  /// Bytes of weights on the device that has most of them.
  package var parameterBytes = 0.0
  /// Blocks of keys and values that fit, over all devices.
  package var blocks = 0
  /// Sequences that run at once: those that want to, as far as blocks last.
  package var sequences = 0
  /// Output tokens a second of the load, prompts included.
  package var tokensPerSecond = 0.0
  /// Bytes that cross links for each token of output.
  package var linkBytesPerToken = 0.0

  package init(placement: Placement, refusal: String? = nil) {
    self.placement = placement
    self.refusal = refusal
  }
}

package import SwerveCore
package import SwerveHardware

/// What attention must know of a model: all that a worker without weights is told.
package struct AttentionShape: Sendable, Hashable {
  package var headCount: Int
  /// Divides `headCount`.
  package var keyValueHeadCount: Int
  package var headDim: Int
  /// [layers] tokens a query sees, itself included; nil = all before it. One window at most.
  package var windows: [Int?]

  package init(headCount: Int, keyValueHeadCount: Int, headDim: Int, windows: [Int?]) {
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headDim = headDim
    self.windows = windows
  }

  package init(_ model: ModelConfiguration) {
    self.init(
      headCount: model.headCount, keyValueHeadCount: model.keyValueHeadCount, headDim: model.headDim,
      windows: model.windows)
  }

  package var layerCount: Int { windows.count }
  /// Elements of a row of queries, and of a row of keys or of values.
  package var queryWidth: Int { headCount * headDim }
  package var keyValueWidth: Int { keyValueHeadCount * headDim }

  /// Where keys and values lie in a block.
  package func layout(type: KVType, blockTokens: Int) throws(HardwareError) -> KVLayout {
    try KVLayout(
      type: type, blockTokens: blockTokens, headCount: keyValueHeadCount, headDim: headDim, layerCount: layerCount)
  }
}

import SwerveCore

/// One device: memory, and how fast it computes from it.
package struct DeviceDescription: Sendable, Hashable {
  package var name: String
  /// U: bytes that may be used for weights, keys and values.
  package var memoryBytes: Double
  /// β: bytes a second read from memory.
  package var bytesPerSecond: Double
  /// Operations a second of large products.
  package var operationsPerSecond: Double
  /// Measured: seconds that a product takes for each byte of its weights, by its rows, ascending. Empty = from the two
  /// rates above.
  package var products: [ProductRate]
  /// Operations a second of attention over many rows.
  package var attentionOperationsPerSecond: Double
  /// Seconds a step spends beside products and attention: for each layer, and for each row of each layer.
  package var layerSeconds: Double
  package var rowSeconds: Double
  /// The part of `rowSeconds` that every tensor rank spends on every row: norms.
  package var normSeconds: Double

  package struct ProductRate: Sendable, Hashable {
    package var rows: Double
    package var secondsPerByte: Double

    package init(rows: Double, secondsPerByte: Double) {
      self.rows = rows
      self.secondsPerByte = secondsPerByte
    }
  }

  package init(
    name: String, memoryBytes: Double, bytesPerSecond: Double, operationsPerSecond: Double,
    products: [ProductRate] = [], attentionOperationsPerSecond: Double? = nil, layerSeconds: Double = 0,
    rowSeconds: Double = 0, normSeconds: Double = 0
  ) {
    self.name = name
    self.memoryBytes = memoryBytes
    self.bytesPerSecond = bytesPerSecond
    self.operationsPerSecond = operationsPerSecond
    self.products = products
    self.attentionOperationsPerSecond = attentionOperationsPerSecond ?? operationsPerSecond / 2
    self.layerSeconds = layerSeconds
    self.rowSeconds = rowSeconds
    self.normSeconds = normSeconds
  }

  /// Seconds of a product for each byte of its weights: between measured numbers of rows in a straight line, beyond the
  /// last one in proportion.
  package func secondsPerByte(rows: Double, weightBytes: Double) -> Double {
    guard let first = products.first, let last = products.last else {
      return max(1 / bytesPerSecond, 2 * rows / (weightBytes * operationsPerSecond))
    }
    if rows <= first.rows { return first.secondsPerByte }
    if rows >= last.rows { return last.secondsPerByte * rows / last.rows }
    var below = first
    for point in products.dropFirst() {
      if rows <= point.rows {
        let share = (rows - below.rows) / (point.rows - below.rows)
        return below.secondsPerByte + share * (point.secondsPerByte - below.secondsPerByte)
      }
      below = point
    }
    return last.secondsPerByte
  }
}

/// A way between two devices.
package struct LinkDescription: Sendable, Hashable {
  /// α: seconds of the smallest message, one way.
  package var latencySeconds: Double
  package var bytesPerSecond: Double

  package init(latencySeconds: Double, bytesPerSecond: Double) {
    self.latencySeconds = latencySeconds
    self.bytesPerSecond = bytesPerSecond
  }

  /// One message.
  package func seconds(_ bytes: Double) -> Double { latencySeconds + bytes / bytesPerSecond }
}

/// Devices, what connects them, and the disk.
package struct MachineDescription: Sendable, Hashable {
  package var devices: [DeviceDescription]
  /// Between any two devices, or two processes of one.
  package var link: LinkDescription
  /// Bytes a second read from the disk that has the weights; nil = unknown.
  package var diskBytesPerSecond: Double?
  /// Bytes a second copied from host memory to a device.
  package var hostBytesPerSecond: Double
  /// The share of the CPUs' time that others used while this was measured; nil = unknown, or described.
  package var busyShare: Double?

  package init(
    devices: [DeviceDescription], link: LinkDescription, diskBytesPerSecond: Double? = nil, hostBytesPerSecond: Double
  ) {
    self.devices = devices
    self.link = link
    self.diskBytesPerSecond = diskBytesPerSecond
    self.hostBytesPerSecond = hostBytesPerSecond
  }
}

extension MachineDescription {
  /// Why the rates are not to be trusted; nil where nothing was noticed.
  package var busyWarning: String? {
    guard let busyShare, busyShare > Self.mostBusyShare else { return nil }
    return
      "other work used \(Decimals.fixed(busyShare * 100, 0)) % of the CPUs while this machine was measured, so that it "
      + "looks slower than it is; plan while it is idle, or describe it with --machine"
  }

  static let mostBusyShare = 0.1
}

/// What is asked of an engine at once.
package struct Load: Sendable, Hashable {
  /// B: sequences that want to run.
  package var sequences: Int
  package var promptTokens: Int
  package var outputTokens: Int
  /// Tokens of a prompt computed in one step.
  package var chunkTokens: Int
  package var blockTokens: Int

  package init(
    sequences: Int = 32, promptTokens: Int = 512, outputTokens: Int = 128, chunkTokens: Int = 512,
    blockTokens: Int = 16
  ) {
    self.sequences = sequences
    self.promptTokens = promptTokens
    self.outputTokens = outputTokens
    self.chunkTokens = chunkTokens
    self.blockTokens = blockTokens
  }

  /// S: tokens of context that a decoding sequence has on average.
  package var contextTokens: Double { Double(promptTokens) + Double(outputTokens) / 2 }
  /// Tokens that a sequence holds in the end.
  package var longestTokens: Int { promptTokens + outputTokens }
}

internal import CSwerveKernels

/// A 64-bit checksum against damaged files. Any change of one 8-byte word changes it; it is no protection against
/// somebody who wants two files to agree.
package enum Checksum {
  /// Bytes that are summed on their own.
  static let pieceBytes = 1 << 20

  /// Of any bytes, on the calling thread. About the speed of memory.
  package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    sum(bytes, pieces: (0..<pieceCount(bytes)).map { piece(bytes, $0) })
  }

  static func pieceCount(_ bytes: UnsafeRawBufferPointer) -> Int { (bytes.count + pieceBytes - 1) / pieceBytes }

  private static func piece(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt64 {
    let first = index * pieceBytes
    return swerve_checksum(bytes.baseAddress.map { $0 + first }, min(pieceBytes, bytes.count - first))
  }

  /// The checksum of the pieces' checksums and the length.
  static func sum(_ bytes: UnsafeRawBufferPointer, pieces: [UInt64]) -> UInt64 {
    (pieces + [UInt64(bytes.count)]).withUnsafeBytes { swerve_checksum($0.baseAddress, $0.count) }
  }
}

extension CPUDevice {
  /// `Checksum.of` on all threads.
  package func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var sums = [UInt64](repeating: 0, count: Checksum.pieceCount(bytes))
    sums.withUnsafeMutableBufferPointer { out in
      let job = swerve_checksum_job(
        bytes: bytes.baseAddress, count: bytes.count, piece: Checksum.pieceBytes, sums: out.baseAddress)
      pool.run(swerve_checksum_task, job, units: out.count)
    }
    return Checksum.sum(bytes, pieces: sums)
  }
}

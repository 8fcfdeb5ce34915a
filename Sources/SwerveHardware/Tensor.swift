package import SwerveCore

/// Rows of numbers in device memory that somebody else owns. A plain value: copying it copies no number, and it is valid
/// as long as its owner.
package struct Tensor: @unchecked Sendable {
  // Sendable: an address and four sizes; who may touch the memory is decided by the owner's rules.

  /// First element of row 0.
  package var pointer: UnsafeMutableRawPointer
  package var type: ElementType
  package var rows: Int
  package var columns: Int
  /// Elements from one row to the next, ≥ columns.
  package var rowStride: Int

  package init(pointer: UnsafeMutableRawPointer, type: ElementType, rows: Int, columns: Int, rowStride: Int? = nil) {
    self.pointer = pointer
    self.type = type
    self.rows = rows
    self.columns = columns
    self.rowStride = rowStride ?? columns
  }

  package var rowBytes: Int { rowStride * type.byteCount }

  /// Rows of the same memory.
  ///
  /// - Precondition: the range lies in `0 ..< rows`.
  package func rows(_ range: Range<Int>) -> Tensor {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows outside the tensor")
    var part = self
    part.pointer += range.lowerBound * rowBytes
    part.rows = range.count
    return part
  }

  /// The first rows: the part of a preallocated buffer that a step uses.
  package func first(_ count: Int) -> Tensor { rows(0..<count) }

  /// Columns of the same rows.
  package func columns(_ range: Range<Int>) -> Tensor {
    precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns outside the tensor")
    var part = self
    part.pointer += range.lowerBound * type.byteCount
    part.columns = range.count
    return part
  }

  /// Row 0 onward as f32.
  package var float32: UnsafeMutablePointer<Float> {
    precondition(type == .float32, "tensor is not float32")
    return pointer.assumingMemoryBound(to: Float.self)
  }
}

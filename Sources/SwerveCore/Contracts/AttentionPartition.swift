/// Attention goes through a sequence in partitions of so many positions, counted from its beginning, and merges them in
/// order. Who has blocks of a whole partition can attend to it alone, so this is where sequences may be cut.
package enum AttentionPartition {
  package static let tokens = 256
}

// A rank's process, for tests that start some and end one.

import Glibc
import SwerveEngine

exit(RankProcess.run())

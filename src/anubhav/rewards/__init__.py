"""The rewards room: feedback becomes numbers. It never trains the policy."""

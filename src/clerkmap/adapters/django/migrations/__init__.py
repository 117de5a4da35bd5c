"""How clerkmap's tables come to be where Django manages them."""
